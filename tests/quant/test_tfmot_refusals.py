"""What quantisation-aware training refuses, in a sentence each."""

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

from qinit.errors import QinitError, QuantError, SpecError
from qinit.quant.tfmot import QatScheme, QatSettings, quantize_model

API = tfmot.quantization.keras
LAYERS = tf_keras.layers


def unfoldable():
  x = tf_keras.Input((8, 8, 3))
  y = LAYERS.Conv2D(4, 3, padding="same", name="both")(x)
  z = LAYERS.BatchNormalization(name="norm")(y)
  return tf_keras.Model(x, LAYERS.Add()([y, z]))


def shared():
  x = tf_keras.Input((8, 8, 4))
  layer = LAYERS.Conv2D(4, 3, padding="same", name="twice")
  return tf_keras.Model(x, layer(layer(x)))


def nested():
  x = tf_keras.Input((8, 8, 4))
  inner = tf_keras.Sequential(
    [tf_keras.Input((8, 8, 4)), LAYERS.Conv2D(4, 1)], name="inside"
  )
  return tf_keras.Model(x, inner(x))


def with_layer(layer):
  def build():
    x = tf_keras.Input((8, 8, 4))
    return tf_keras.Model(x, layer(x))

  return build


class Subclassed(tf_keras.Model):
  def call(self, x):
    return x


REFUSED = {
  "unfoldable": (unfoldable, "'norm' cannot be folded"),
  "shared": (shared, "'twice' is shared by 2 places"),
  "nested": (nested, "'inside' is a model inside"),
  "subclassed": (lambda: Subclassed(name="mine"), "'mine' is subclassed"),
  "transposed": (
    with_layer(LAYERS.Conv2DTranspose(4, 3, name="up")),
    "'up' cannot be quantised",
  ),
  "valid": (with_layer(LAYERS.Conv2D(4, 3, name="conv")), "padding='same'"),
  "swish": (
    with_layer(LAYERS.Conv2D(4, 1, activation="swish", name="conv")),
    "'conv'.*relu",
  ),
  "groups": (
    with_layer(LAYERS.Conv2D(4, 1, groups=2, name="conv")),
    "'conv'.*groups=1",
  ),
  "slope": (with_layer(LAYERS.ReLU(negative_slope=0.1, name="r")), "'r'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_layer(case):
  build, words = REFUSED[case]
  images = np.zeros((4, 8, 8, 4 if case != "unfoldable" else 3), np.float32)
  with pytest.raises(QinitError, match=words) as error:
    quantize_model(build(), QatScheme(images))
  assert "\n" not in str(error.value)


def test_a_keras_3_model_is_refused():
  with pytest.raises(SpecError, match="TF_USE_LEGACY_KERAS=1"):
    quantize_model(object(), QatScheme(np.zeros((1, 8, 8, 3))))


def test_an_empty_representative_set_is_refused():
  model = with_layer(LAYERS.Conv2D(4, 1))()
  with pytest.raises(QuantError, match="representative set is empty"):
    quantize_model(model, QatScheme(np.zeros((0, 8, 8, 4))))


@pytest.mark.parametrize(
  "wrong",
  [
    dict(weight_bits=1),
    dict(activation_bits=9),
    dict(quantizer="lsqq"),
    dict(ranges="kl"),
    dict(decay=1.0),
    dict(damping=-1.0),
    dict(freeze_above=0.0),
  ],
)
def test_settings_out_of_bounds_are_refused(wrong):
  with pytest.raises(QinitError):
    QatSettings(**wrong)


def test_a_partly_annotated_model_is_refused():
  x = tf_keras.Input((8, 8, 3))
  y = API.quantize_annotate_layer(LAYERS.Conv2D(4, 1))(x)
  model = tf_keras.Model(x, LAYERS.ReLU(name="plain")(y))
  images = np.zeros((4, 8, 8, 3), np.float32)
  with pytest.raises(QuantError, match="'plain' is not annotated"):
    API.quantize_apply(model, QatScheme(images))
