"""Keras models read back as data."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qinit.archs import zoo
from qinit.errors import SpecError
from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.keras import builder, reader
from tests import quant_nets

LAYERS = tf_keras.layers


@pytest.mark.parametrize("arch", zoo.ARCHS)
def test_reading_is_building_reversed(arch):
  spec = zoo.build(arch, 0.125)
  found = reader.read(builder.build(spec))
  assert set(found.spec.nodes) == set(spec.nodes)
  assert found.spec.output == spec.output
  assert found.untrained == frozenset() and not found.softmax


def test_a_cell_with_everything_comes_back():
  spec = quant_nets.cell()
  found = reader.read(builder.build(spec)).spec
  assert set(found.nodes) == set(spec.nodes)


def agree(model, images):
  network = reader.read(model)
  y = forward(network.spec, network.params, images)
  y = tf.nn.softmax(y) if network.softmax else y
  np.testing.assert_allclose(y, model(images), rtol=1e-4, atol=1e-5)
  return network


def test_mobilenet_v2_is_read_exactly():
  model = tf_keras.applications.MobileNetV2(
    input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=10
  )
  images = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
  network = agree(model, images.astype(np.float32))
  assert network.softmax
  # Its ZeroPadding2D in front of strided convolutions is TF's own padding.
  strided = network.spec.node("block_1_depthwise").op
  assert (strided.strides, strided.padding) == ((2, 2), "same")


def test_sequential_models_and_inner_activations():
  model = tf_keras.Sequential(
    [
      tf_keras.Input((8, 8, 3)),
      LAYERS.Conv2D(4, 3, padding="same", activation="relu", name="a"),
      LAYERS.BatchNormalization(scale=False, name="norm"),
      LAYERS.Activation("relu6", name="six"),
      LAYERS.GlobalAveragePooling2D(name="pool"),
      LAYERS.Dense(5, activation="softmax", use_bias=False, name="d"),
    ]
  )
  images = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
  network = agree(model, images.astype(np.float32))
  assert network.spec.node("a.relu").inputs == ("a",)
  assert network.spec.node("six").op == ops.Relu(6)
  assert network.untrained == {"norm/gamma", "d/bias"}
  np.testing.assert_array_equal(network.params["norm/gamma"], np.ones(4))


def test_symmetric_padding_is_recognised():
  x = tf_keras.Input((8, 8, 3))
  y = LAYERS.ZeroPadding2D(1)(x)
  model = tf_keras.Model(x, LAYERS.Conv2D(4, 3, 2, name="c")(y))
  op = reader.read(model).spec.node("c").op
  assert op.padding == "symmetric"
  images = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
  agree(model, images.astype(np.float32))


def test_padding_that_nothing_takes_in_is_refused():
  x = tf_keras.Input((8, 8, 3))
  y = LAYERS.ZeroPadding2D(1, name="pad")(x)
  model = tf_keras.Model(x, LAYERS.ReLU(name="r")(y))
  with pytest.raises(SpecError, match="'pad' feeds 'r'"):
    reader.read(model)
