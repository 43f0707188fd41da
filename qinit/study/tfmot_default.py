"""TFMOT's own default 8-bit scheme, to be measured beside ours."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from qinit import keras
from qinit.export.runtime import Parity, Runtime
from qinit.graph.layers import CheckpointedDropout
from qinit.graph.spec import NetSpec
from qinit.keras.fit import Progress
from qinit.quant.tfmot import SelfQuantized
from qinit.stats import accuracy

_API = tfmot.quantization.keras
_BATCH = 250


class TfmotDefault:
  """The Keras model of a NetSpec in training as TFMOT does it by itself, and
  the INT8 file that its converter makes: weights per channel, activations
  over a moving average that begins at +-6."""

  def __init__(self, spec: NetSpec, params: Mapping):
    model = keras.build(spec)
    keras.assign(model, params)
    annotated = tf_keras.models.clone_model(model, clone_function=_annotate)
    with _API.quantize_scope(_OWN):
      self.keras = _API.quantize_apply(annotated)

  def log(self, path: Path, frozen_from: int) -> Callable[[Progress], None]:
    """An observer of training that has nothing to do."""
    return lambda progress: None

  def measured(self, images: np.ndarray, labels: np.ndarray) -> dict:
    """The file's accuracy on images [N, H, W, C] in [0, 1], and the share of
    its output codes that the training graph has too."""
    model = self._converted()
    runtime = Runtime(model, batch_size=_BATCH)
    codes = runtime.output_codes(runtime.affine("input").quantize(images))
    graph = runtime.affine("output").quantize(keras.predict(self.keras, images))
    found = accuracy.accuracy(codes, labels)
    return {
      "quint8_accuracy": found,
      "litert_accuracy": found,
      "graph_equal_codes": Parity.of(codes, graph).equal,
      "tflite_bytes": len(model),
    }

  def _converted(self) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(self.keras)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return converter.convert()


_OWN = {c.__name__: c for c in (CheckpointedDropout, SelfQuantized)}


def _annotate(layer):
  if isinstance(layer, tf_keras.layers.InputLayer):
    return layer
  # TFMOT refuses layers that are not Keras' own, unless told what to do.
  ours = isinstance(layer, CheckpointedDropout)
  config = SelfQuantized() if ours else None
  return _API.quantize_annotate_layer(layer, config)
