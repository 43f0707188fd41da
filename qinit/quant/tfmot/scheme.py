"""The entry into TFMOT: `quantize_apply(annotated, QatScheme(...))`."""

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

from qinit.errors import QuantError
from qinit.keras import reader
from qinit.quant.tfmot import layout
from qinit.quant.tfmot.settings import QatSettings

_API = tfmot.quantization.keras


class QatScheme(tfmot.quantization.keras.QuantizeScheme):
  """BN-folded quantisation at 2 to 8 bits, placed as the runtime needs it.

  Args:
    representative: images [N, H, W, C] as the model reads them; they set the
      ranges before the first step.
    settings: `QatSettings`, or its fields as keywords.
    input_range: the fixed range of the data; by default that of the images.

  Raises:
    QinitError: for a setting out of bounds.
  """

  def __init__(
    self, representative, settings=None, input_range=None, **keywords
  ):
    self.representative = np.asarray(representative, np.float32)
    self.settings = settings or QatSettings(**keywords)
    self.input_range = input_range

  def get_layout_transformer(self):
    return _Layout(self)

  def get_quantize_registry(self):
    return _Registry()


def quantize_model(model: tf_keras.Model, scheme: QatScheme) -> tf_keras.Model:
  """TFMOT's `quantize_annotate_model` and `quantize_apply` in one.

  `model` is left as it is; what is returned has to be compiled.

  Raises:
    SpecError: for a model or a layer that has no quantised form.
    QuantError: for a BatchNorm that cannot be folded, or no images.
  """
  reader.read(model)  # before TFMOT, whose refusals name no layer
  return _API.quantize_apply(_API.quantize_annotate_model(model), scheme)


class SelfQuantized(tfmot.quantization.keras.QuantizeConfig):
  """Says to TFMOT that a layer of the transformed model quantises itself: a
  folded kernel is no variable that a wrapper could replace."""

  def get_weights_and_quantizers(self, layer):
    return []

  def get_activations_and_quantizers(self, layer):
    return []

  def set_quantize_weights(self, layer, quantize_weights):
    return None  # there are none to set

  def set_quantize_activations(self, layer, quantize_activations):
    return None  # there are none to set

  def get_output_quantizers(self, layer):
    return []

  def get_config(self):
    return {}


class _Layout(tfmot.quantization.keras.QuantizeLayoutTransform):
  def __init__(self, scheme: QatScheme):
    self.scheme = scheme

  def apply(self, model, layer_quantize_map):
    _check_annotation(model, layer_quantize_map)
    quantised = layout.build(
      reader.read(model),
      self.scheme.representative,
      self.scheme.settings,
      self.scheme.input_range,
    )
    return quantised, {}  # no layer needs TFMOT's wrapper


class _Registry(tfmot.quantization.keras.QuantizeRegistry):
  def supports(self, layer):
    return True

  def get_quantize_config(self, layer):
    return SelfQuantized()


def _check_annotation(model, layer_quantize_map):
  for layer in model.layers:
    if isinstance(layer, tf_keras.layers.InputLayer):
      continue
    if layer.name not in layer_quantize_map:
      raise QuantError(
        f"layer {layer.name!r} is not annotated: annotate the whole model with"
        " quantize_annotate_model"
      )
    if layer_quantize_map[layer.name].get("quantize_config") is not None:
      raise QuantError(
        f"layer {layer.name!r} is annotated with a QuantizeConfig of its own:"
        " annotate it without one, the scheme quantises every layer"
      )
