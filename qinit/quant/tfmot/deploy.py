"""From a trained model back to plain data that can be exported."""

from collections.abc import Iterator

import numpy as np
import tf_keras

from qinit.errors import QuantError
from qinit.graph import rewrite
from qinit.graph.spec import NetSpec
from qinit.quant.deployed import Deployed
from qinit.quant.limits import widen
from qinit.quant.placement import place
from qinit.quant.scheme import Ranges
from qinit.quant.tfmot.layers import Quantize, QuantizedLinear
from qinit.quant.tfmot.layout import SUFFIX
from qinit.quant.tfmot.settings import QatSettings


def deploy(
  model: tf_keras.Model, spec: NetSpec, settings: QatSettings
) -> Deployed:
  """The network that `model` has become.

  Args:
    model: of `quantize_model`, trained.
    spec: the float network that it was made of (`keras.reader.read`).
    settings: as it was quantised.

  Raises:
    QuantError: for weights quantised per channel, which UINT8 files lack.
  """
  params: dict[str, np.ndarray] = {}
  ranges: Ranges = {}
  for layer in linear_layers(model):
    params |= {f"{layer.name}/{r}": v for r, v in layer.exported().items()}
    bounds = layer.kernel_range()
    if bounds is None:
      raise QuantError(
        f"the weights of {layer.name!r} are quantised per channel, which UINT8"
        " files cannot express: train with per_channel=False to export"
      )
    ranges[f"{layer.name}/{layer.kernel_role}"] = bounds
  for layer in model.layers:
    if isinstance(layer, Quantize):
      ranges[layer.name.removesuffix(SUFFIX)] = layer.range()
  spec = rewrite.fold_spec(spec)
  placement = place(spec)
  ranges = widen(placement, params, ranges, settings.scheme)
  return Deployed(spec, params, ranges, settings.scheme)


def linear_layers(model: tf_keras.Model) -> Iterator[QuantizedLinear]:
  """The layers with quantised kernels, from input to output."""
  return (la for la in model.layers if isinstance(la, QuantizedLinear))


def freeze_batch_norm(model: tf_keras.Model, frozen: bool = True) -> None:
  """From here on training uses the moving statistics and leaves them alone."""
  for layer in linear_layers(model):
    layer.frozen.assign(frozen)
