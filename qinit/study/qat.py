"""Start x method: what the place where training starts is worth for a network
that will be quantised (the experiment that Section 5 asks for).

`ptq` trains in float and quantises afterwards, `ptq_cle`, `ptq_bias` and
`ptq_adaround` with equalised layers, corrected biases and learned rounding;
`float_qat` trains the first half of the epochs in float and the second for
quantisation; `qat` trains for quantisation from the start. All take the same
number of epochs.
"""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tf_keras

from qinit import keras, record
from qinit.archs import load as archs
from qinit.archs import zoo
from qinit.data import catalogue
from qinit.data.dataset import Dataset, scaled
from qinit.errors import QinitError, QuantError, RefusedError, one_of
from qinit.export import layer_report
from qinit.files import locked, write_text
from qinit.graph.spec import NetSpec
from qinit.grid.task import Watcher
from qinit.keras.fit import FitConfig, Outcome, fit, lost
from qinit.quant.scheme import parse_width
from qinit.record import Record
from qinit.study import ptq, quantise
from qinit.study.curve import IMAGES, Curve
from qinit.study.starts import Start

KIND = "qat"
METHODS = (*ptq.METHODS, "float_qat", "qat")
# Among the quantizers, TFMOT's own scheme, to be measured beside ours.
TFMOT_DEFAULT = "tfmot_default"
# BatchNorm's statistics are frozen for the last part of the QAT epochs.
_FREEZE_AFTER = 0.75
# The layers of the file are compared on so many test images.
_PARITY_IMAGES = 32


@dataclasses.dataclass(frozen=True)
class Cell:
  """One row: a training and what was made of it."""

  arch: str
  start: str
  method: str
  quantizer: str
  bits: str
  seed: int

  def __str__(self):
    name = (
      zoo.ARCHS[self.arch].row_name if self.arch in zoo.ARCHS else self.arch
    )
    return (
      f"{Path(name).stem} {Start.parse(self.start).label} {self.method}"
      f" {self.quantizer} {self.bits} (seed {self.seed})"
    )


@dataclasses.dataclass(frozen=True)
class QatStudy:
  """The grid and the settings that its cells share.

  Attributes:
    symmetry: how predicted starts are told apart, see `params.symmetry`.
    clip_percentile: of activations after training in float; training for
      quantisation clips `qat_clip_percentile`.
    damping, freeze_above: against oscillations, see `QatSettings`.
  """

  archs: tuple[str, ...] = ("dws_conv_bn",)
  starts: tuple[str, ...] = ("he_uniform",)
  methods: tuple[str, ...] = ("qat",)
  quantizers: tuple[str, ...] = ("simquant",)
  bits: tuple[str, ...] = ("w4a4",)
  seeds: tuple[int, ...] = (0,)
  symmetry: str = "none"
  dataset: str = "cifar10"
  data_dir: str | None = None
  epochs: int = 200
  batch_size: int = 128
  width: float = 1.0
  clip_percentile: float = 1.0
  qat_clip_percentile: float = 0.0
  ranges: str = "ema"
  damping: float = 0.0
  freeze_above: float | None = None
  calibration_images: int = 1024
  output_dir: str = "runs/qat"

  def __post_init__(self):
    for method in self.methods:
      one_of("method", method, METHODS)
    _require_distinct("start", [Start.parse(s).label for s in self.starts])
    _require_distinct("network", [Path(arch).stem for arch in self.archs])
    if "float_qat" in self.methods and self.epochs < 2:
      raise QinitError("float_qat trains half of the epochs: it needs two")
    if TFMOT_DEFAULT in self.quantizers and self.bits != ("w8a8",):
      raise QinitError(f"{TFMOT_DEFAULT} is for 8 bits: use --bits=w8a8")

  def identity(self) -> dict:
    """The settings that make two runs the same, the cells' axes apart."""
    axes = ("archs", "starts", "methods", "quantizers", "bits", "seeds")
    settings = dataclasses.asdict(self)
    apart = {*axes, "data_dir", "output_dir"}
    return {key: settings[key] for key in settings if key not in apart}

  def cells(self) -> tuple[Cell, ...]:
    """Of the quantizers only the first counts for `ptq` and its kin."""
    grid = itertools.product(
      self.archs,
      self.starts,
      self.methods,
      self.quantizers,
      self.bits,
      self.seeds,
    )
    found = (Cell(*axes) for axes in grid)
    return tuple(dict.fromkeys(_plain(cell) for cell in found))

  def spec(self, cell: Cell, num_classes: int = 10) -> NetSpec:
    if cell.arch in zoo.ARCHS:
      return zoo.build(cell.arch, self.width, num_classes)
    return archs.load(cell.arch)

  def folder(self, cell: Cell) -> Path:
    parts = (cell.method, cell.quantizer, cell.bits)
    return self._cells / "__".join((*self._training(cell), *parts))

  def float_folder(self, cell: Cell, epochs: int) -> Path:
    """Of the training in float that several methods share."""
    return self._cells / "__".join((*self._training(cell), f"float{epochs}"))

  def rows(self, cell: Cell) -> list[dict]:
    """One; starts by label, for paths differ by machine."""
    arch, start = Path(cell.arch).stem, Start.parse(cell.start).label
    return [dataclasses.asdict(cell) | {"arch": arch, "start": start}]

  def work(self, cell: Cell, rows, watch: Watcher) -> Iterator[Record]:
    """Trains the cell's network and yields its row.

    Raises:
      QinitError: if data or a start are missing or damaged.
    """
    data = catalogue.shared(self.dataset, self.data_dir)
    yield run_cell(self, cell, data, watch)
    tf_keras.backend.clear_session()

  @property
  def _cells(self):
    return Path(self.output_dir) / "cells"

  def _training(self, cell):
    label = Start.parse(cell.start).label
    return Path(cell.arch).stem, label, f"s{cell.seed}"


def run_cell(
  study: QatStudy, cell: Cell, data: Dataset, watch: Watcher
) -> Record:
  """Trains one cell's network, quantises, exports and measures it."""
  begin = time.monotonic()
  study.folder(cell).mkdir(parents=True, exist_ok=True)
  training = _Training(study, cell, data, watch)
  try:
    status, metrics = training.run()
  except (
    QuantError,
    RefusedError,
  ) as error:  # activations that are not finite, say
    watch.say(str(error))
    status, metrics = "failed", {}
  return Record(
    KIND,
    study.rows(cell)[0],
    record.digest(study.identity()),
    metrics,
    status,
    record.environment(time.monotonic() - begin),
  )


class _Training:
  """One cell, from its start to its metrics."""

  def __init__(self, study, cell, data, watch):
    self.study, self.cell, self.data, self.watch = study, cell, data, watch
    self.spec = study.spec(cell, data.num_classes)
    self.scheme = parse_width(cell.bits, study.clip_percentile)
    self.folder = study.folder(cell)
    self.test = scaled(data.test_images)
    self.images = quantise.calibration(
      data, study.calibration_images, cell.seed
    )

  def run(self) -> tuple[str, dict]:
    study, method = self.study, self.cell.method
    in_float = {"qat": 0, "float_qat": study.epochs // 2}.get(
      method, study.epochs
    )
    params = Start.parse(self.cell.start).params(
      self.spec,
      self.data,
      self.cell.seed,
      study.symmetry,
      None if in_float else self.scheme,
    )
    curve, steps = [], 0
    if in_float:
      params, outcome, curve = self._in_float(params, in_float)
      steps = outcome.steps
      if self._lost(outcome, params):
        return "diverged", {"steps": steps, "float_curve": curve}
    if method in ptq.METHODS:
      found = self._after_training(params, outcome, curve)
      return quantise.status(found), found
    epochs = study.epochs - in_float
    return self._for_quantisation(params, epochs, steps, curve)

  def _in_float(self, params, epochs):
    model = keras.build(self.spec)
    keras.assign(model, params)
    folder = self.study.float_folder(self.cell, epochs)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):  # cells that share this training may run at once
      curve = Curve(folder / "curve.csv", self._accuracy_of(model))
      outcome = self._fit(model, epochs, folder, curve)
    return keras.params(model), outcome, curve.rows()

  def _after_training(self, params, outcome, curve):
    logits = self._float_logits(params)
    job = ptq.quantise(
      self.cell.method, self.spec, params, self.scheme, self.images
    )
    found = {"fp32_accuracy": self._accuracy(logits)}
    return _metrics(outcome, curve) | found | self._measured(job, logits)

  def _for_quantisation(self, params, epochs, steps, curve):
    model, measured = self._in_training(params)
    follow = Curve(
      self.folder / "curve.csv", self._accuracy_of(model.keras), steps
    )
    if not follow.points:
      follow.measure(0)
    frozen_from = max(1, round(_FREEZE_AFTER * epochs))
    model_log = model.log(self.folder / "oscillations.csv", frozen_from)
    before = self._accuracy(keras.predict(model.keras, self.test))
    outcome = self._fit(model.keras, epochs, self.folder, follow, model_log)
    if outcome.diverged:
      return "diverged", {"steps": steps + outcome.steps}
    found = {
      **_metrics(outcome, curve, follow.rows()),
      **measured(),
      "steps": steps + outcome.steps,
      "accuracy_before_qat": before,
    }
    return quantise.status(found), found

  def _in_training(self, params):
    """The network in training for quantisation, and what measures the file
    that it ends in."""
    if self.cell.quantizer == TFMOT_DEFAULT:
      from qinit.study.tfmot_default import TfmotDefault

      theirs = TfmotDefault(self.spec, params)
      labels = self.data.test_labels
      return theirs, lambda: theirs.measured(self.test, labels)
    from qinit.study.qat_model import QatModel

    ours = QatModel(self.spec, params, self._settings(), self.images)
    return ours, lambda: self._deployed(ours)

  def _deployed(self, model):
    job = model.deployed()
    logits = ptq.float_logits(job, self.test)
    graph = keras.predict(model.keras, self.test)
    return {
      "fp32_accuracy": self._accuracy(logits),
      **self._measured(job, logits),
      "graph_equal_codes": ptq.equal_codes(job, graph, self.test),
      "oscillating": model.oscillating(),
    }

  def _measured(self, job, logits):
    """Metrics of the exported file; beside it, layer by layer, where the
    reference kernels and the fake-quant graph part from it."""
    found = quantise.measure(job, logits, self.data, self.images, self.folder)
    (file,) = self.folder.glob("model_*.tflite")
    rows = layer_report.layer_report(
      file.read_bytes(), job, self.test[:_PARITY_IMAGES]
    )
    write_text(self.folder / "parity.csv", layer_report.to_csv(rows))
    return found

  def _settings(self):
    from qinit.quant.tfmot import QatSettings

    study = self.study
    return QatSettings(
      self.scheme.weight_bits,
      self.scheme.activation_bits,
      self.cell.quantizer,
      ranges=study.ranges,
      clip_percentile=study.qat_clip_percentile,
      damping=study.damping,
      freeze_above=study.freeze_above,
      follow_oscillations=True,
    )

  def _fit(self, model, epochs, folder, *observers) -> Outcome:
    config = FitConfig(epochs, self.study.batch_size, seed=self.cell.seed)

    def report(progress):
      for observer in (*observers, self.watch):
        observer(progress)

    return fit(model, self.data, config, str(folder), report)

  def _accuracy_of(self, model):
    logits = keras.predictor(model)
    return lambda: self._accuracy(logits(self.test[:IMAGES]))

  def _accuracy(self, logits):
    labels = self.data.test_labels[: len(logits)]
    return 100 * float(np.mean(logits.argmax(-1) == labels))

  def _float_logits(self, params):
    model = keras.build(self.spec)
    keras.assign(model, params)
    return keras.predict(model, self.test)

  def _lost(self, outcome, params):
    if outcome.diverged:
      return True
    return lost(self._accuracy(self._float_logits(params)), self.data)


def _metrics(outcome: Outcome, float_curve, curve=()) -> dict:
  return {
    "epochs": outcome.epochs,
    "steps": outcome.steps,
    "train_loss": outcome.loss,
    "train_accuracy": outcome.accuracy,
    "train_seconds": round(outcome.seconds, 1),
    "float_curve": float_curve,
    "curve": list(curve),
  }


def _require_distinct(what, names):
  """Cells lie in folders of these names."""
  for name in names:
    if names.count(name) > 1:
      raise QinitError(
        f"two {what}s are called {name}: rename a file or folder"
      )


def _plain(cell: Cell) -> Cell:
  """Rows without QAT have no quantizer but rounding."""
  if cell.method in ptq.METHODS:
    return dataclasses.replace(cell, quantizer="rounding")
  return cell
