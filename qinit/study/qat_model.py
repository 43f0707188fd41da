"""A network in quantisation-aware training, as the study uses it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from qinit import keras
from qinit.files import write_text
from qinit.graph.spec import NetSpec
from qinit.keras.fit import Progress
from qinit.quant import oscillation, tfmot
from qinit.quant.deployed import Deployed
from qinit.study.curve import to_csv
from qinit.study.quantise import INPUT_RANGE

_HEADER = ("epoch", "layer", "oscillating_percent", "frozen_percent")


class QatModel:
  """The Keras model of a NetSpec in quantisation-aware training.

  Args:
    images: for calibration, [N, H, W, C] in [0, 1].
  """

  def __init__(
    self,
    spec: NetSpec,
    params: Mapping,
    settings: tfmot.QatSettings,
    images: np.ndarray,
  ):
    self.spec, self.settings = spec, settings
    model = keras.build(spec)
    keras.assign(model, params)
    scheme = tfmot.QatScheme(images, settings, INPUT_RANGE)
    self.keras = tfmot.quantize_model(model, scheme)

  def deployed(self) -> Deployed:
    """What training has made of it, for export."""
    return tfmot.deploy(self.keras, self.spec, self.settings)

  def oscillating(self) -> float:
    """Percent of all weights that oscillate."""
    rates, sizes = [], []
    for layer in tfmot.linear_layers(self.keras):
      rates.append(oscillation.rate(layer.oscillation["frequency"]))
      sizes.append(np.prod(layer.kernel_shape))
    return float(np.average(rates, weights=sizes))

  def log(self, path: Path, frozen_from: int) -> Callable[[Progress], None]:
    """An observer of training: at the end of each epoch it writes how many
    weights oscillate, layer by layer, and after `frozen_from` epochs freezes
    BatchNorm's statistics."""

    def observe(progress):
      if progress.step < progress.steps:
        return
      epoch = progress.epoch + 1
      tfmot.freeze_batch_norm(self.keras, epoch >= frozen_from)
      before = _rows_before(path, epoch)
      write_text(path, to_csv(_HEADER, [*before, *self._rows(epoch)]))

    return observe

  def _rows(self, epoch):
    for layer in tfmot.linear_layers(self.keras):
      state = layer.oscillation
      rate = oscillation.rate(state["frequency"])
      frozen = 100 * float(np.mean(state["frozen"].numpy()))
      yield [epoch, layer.name, round(rate, 4), round(frozen, 4)]


def _rows_before(path, epoch):
  """The rows of earlier epochs, which a resumed training goes on from."""
  if not path.exists():
    return []
  rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
  return [row for row in rows if int(row[0]) < epoch]
