"""Prediction: what is refused, batches, gradients, emission into Keras."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import qinit.keras.builder as keras_builder
from qinit.archs import darts, genotype, zoo
from qinit.errors import SpecError
from qinit.functional.forward import forward
from qinit.functional.statistics import estimate_moving_stats
from qinit.ghn import embed
from qinit.ghn.config import GHN_1, GHN_2, MLP
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.weights import initial_weights, weight_shapes
from qinit.graph import ops
from qinit.graph.spec import NetSpec, Node


@pytest.fixture(scope="module")
def ghn():
  return HyperNet(GHN_2)


def small(op="sep_conv_3x3", **kwargs):
  edges = ((op, 0), ("skip_connect", 1))
  cells = genotype.Genotype(edges, (2,), edges, (2,))
  arguments = {"n_cells": 3, "C": 8} | kwargs
  return darts.build(genotype.NetConfig(cells, **arguments))


@pytest.mark.parametrize(
  ("config", "tensors", "count"),
  [(GHN_2, 31, 1_620_764), (GHN_1, 25, 1_620_668), (MLP, 23, 1_614_396)],
)
def test_number_of_weights(config, tensors, count):
  shapes = weight_shapes(config)
  assert len(shapes) == tensors
  assert sum(np.prod(s) for s in shapes.values()) == count


@pytest.mark.parametrize("tensors", [1_000, 10])
def test_weights_of_imagenet(tensors):
  config = dataclasses.replace(GHN_2, num_classes=1000, max_kernel=16)
  shapes = weight_shapes(config)
  assert sum(np.prod(s) for s in shapes.values()) == 2_319_720


def test_channel_rows():
  values = embed.channel_values(10)
  anchors = {1: 0, 3: 1, 8: 2, 10: 3, 16: 4, 64: 10, 128: 14, 8192: 390}
  assert {v: int(np.flatnonzero(values == v)[0]) for v in anchors} == anchors
  assert len(values) == 391 and embed.channel_values(1000)[68] == 1000
  nearest = {2: 1, 4: 8, 7: 8, 9: 8, 12: 10, 13: 10, 14: 16, 20: 16, 28: 24,
             44: 40, 60: 56, 72: 64, 100: 96, 9000: 8192}  # fmt: skip
  for size, entry in nearest.items():
    rows = embed.shape_indices(np.array([[size, entry, 1, 1]]), 10, 11)
    assert rows[0, 0] == rows[0, 1] == np.flatnonzero(values == entry)[0]


def test_spatial_rows():
  assert embed.spatial_values(11).tolist() == [1, 3, 5, 7, 9, 11, 14, 16]
  assert len(embed.spatial_values(16)) == 10
  nearest = {2: 3, 4: 3, 6: 5, 8: 7, 10: 9, 12: 11, 13: 14, 15: 14, 20: 16}
  for size, entry in nearest.items():
    rows = embed.shape_indices(np.array([[1, 1, size, entry]]), 10, 11)
    assert rows[0, 2] == rows[0, 3]
  dummy = embed.shape_indices(np.zeros((1, 4), int), 10, 11)
  assert dummy.tolist() == [[391, 391, 8, 8]]


@pytest.mark.parametrize("arch", zoo.ARCHS)
def test_predicts_exactly_the_trainable_parameters(ghn, arch):
  spec = zoo.build(arch)
  params = ghn.predict(spec)
  assert list(params) == list(spec.trainable_specs())
  for key, value in params.items():
    assert tuple(value.shape) == spec.param_specs()[key].shape


@pytest.mark.parametrize("config", [GHN_2, GHN_1, MLP])
def test_a_meta_batch_is_its_networks_one_by_one(config):
  ghn = HyperNet(config)
  specs = [small(), zoo.build("mbnetv2_no_bn"), small("conv_7x1_1x7", C=96)]
  for spec, params in zip(specs, ghn.predict_batch(specs), strict=True):
    for key, value in ghn.predict(spec).items():
      np.testing.assert_allclose(params[key], value, rtol=0, atol=1e-5)


def test_wide_tensors_repeat():
  config = dataclasses.replace(GHN_2, weight_norm=False)
  params = HyperNet(config).predict(zoo.build("regular_conv_bn"))
  kernel = params["block6_conv/kernel"].numpy()
  assert kernel.shape == (3, 3, 256, 256)
  np.testing.assert_array_equal(
    kernel[:, :, 64:128, 128:192], kernel[:, :, :64, :64]
  )
  hidden = params["hidden/kernel"].numpy()
  np.testing.assert_array_equal(hidden[64:128, 64:], hidden[:64, :64])


def head(*rows):
  nodes = [Node(n, op, (source,)) for n, op, source in rows]
  return NetSpec((8, 8, 3), tuple(nodes))


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    (
      head(
        ("big", ops.Conv(4, 13), "input"),
        ("pool", ops.GlobalPool(), "big"),
        ("fc", ops.Dense(10), "pool"),
      ),
      "node 'big' has a kernel larger than the decoder's 11x11",
    ),
    (
      head(("pool", ops.GlobalPool(), "input"), ("fc", ops.Dense(11), "pool")),
      "node 'fc' has 11 classes, the hypernetwork knows 10",
    ),
    (
      head(("c", ops.Conv(4), "input"), ("pool", ops.GlobalPool(), "c")),
      "the last node must be a dense layer, not 'pool'",
    ),
  ],
)
def test_refusals(ghn, spec, message):
  with pytest.raises(SpecError, match=message):
    ghn.predict(spec)


def test_fewer_classes_are_the_first_ones():
  config = dataclasses.replace(GHN_2, weight_norm=False)
  weights = initial_weights(config)
  ghn = HyperNet(config, weights)
  params = ghn.predict(small(num_classes=4))
  assert params["classifier.0/kernel"].shape == (8, 4)
  assert params["classifier.0/bias"].shape == (4,)


def test_two_stage_gradient_is_the_direct_one(ghn, rng):
  """Assign, dL/dW, output_gradients: as through the functional forward."""
  spec = small(C=16)
  x = tf.constant(rng.normal(size=(8, 32, 32, 3)), tf.float32)
  labels = rng.integers(0, 10, 8)
  variables = list(ghn.weights.values())

  def loss(params):
    return tf.reduce_mean(
      tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels, forward(spec, params, x)
      )
    )

  with tf.GradientTape() as tape:
    value = loss(ghn.predict(spec))
  direct = tape.gradient(value, variables)

  model = keras_builder.build(spec)
  with tf.GradientTape() as tape:
    params = ghn.predict(spec)
  keras_builder.assign(model, params)
  own = keras_builder.variables(model)
  with tf.GradientTape() as inner:
    value = loss({key: own[key] for key in params})
  upstream = inner.gradient(value, [own[key] for key in params])
  staged = tape.gradient(list(params.values()), variables, upstream)
  for name, a, b in zip(ghn.weights, direct, staged, strict=True):
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    atol = 1e-5 * float(tf.reduce_max(tf.abs(a)))
    np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=name)


def test_emission_into_keras(ghn, rng):
  spec = small()
  params = ghn.predict(spec)
  model = keras_builder.build(spec)
  keras_builder.assign(model, params)
  x = rng.normal(size=(4, 32, 32, 3)).astype(np.float32)
  np.testing.assert_allclose(
    model(x, training=True), forward(spec, params, x), rtol=1e-4, atol=1e-4
  )


def test_estimated_statistics_are_those_of_the_pooled_batches(ghn, rng):
  spec = small()
  x = rng.normal(size=(3, 16, 32, 32, 3)).astype(np.float32)
  params = ghn.predict(spec)
  found = estimate_moving_stats(spec, params, x)
  # The first BatchNorm reads no other: its batches can be pooled directly.
  y = ops.Conv(24, padding="symmetric").apply(
    {"kernel": params["stem.0/kernel"]}, x.reshape(-1, 32, 32, 3)
  )
  mean, variance = tf.nn.moments(y, [0, 1, 2])
  np.testing.assert_allclose(found["stem.1/moving_mean"], mean, atol=1e-5)
  np.testing.assert_allclose(
    found["stem.1/moving_variance"], variance, rtol=1e-4
  )
  assert set(found) == set(spec.param_specs())


def test_one_batch_with_its_own_estimated_statistics(ghn, rng):
  spec = small()
  x = rng.normal(size=(16, 32, 32, 3)).astype(np.float32)
  params = ghn.predict(spec)
  estimated = estimate_moving_stats(spec, params, [x])
  np.testing.assert_allclose(
    forward(spec, estimated, x), forward(spec, params, x), rtol=0, atol=1e-4
  )
