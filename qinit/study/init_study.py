"""The random-initialisation study (Section 3 of Starting Positions Matter).

Train a CNN from a chosen initialiser, fold BatchNorm, quantise to unsigned
integers, measure what that cost and where, and export a file that runs.
"""

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import tf_keras

from qinit import keras, record
from qinit.archs import zoo
from qinit.data import catalogue
from qinit.data.dataset import Dataset, scaled
from qinit.errors import QuantError, RefusedError
from qinit.functional.lsuv import lsuv
from qinit.graph.spec import NetSpec
from qinit.grid.task import Watcher
from qinit.keras.fit import FitConfig, Outcome, Progress, fit, lost, predict
from qinit.params.initializers import (
  INITIALIZERS,
  initial_params,
  studied_kernels,
)
from qinit.quant.scheme import parse_width
from qinit.record import Record
from qinit.stats import accuracy
from qinit.study import quantise

KIND = "init_study"
# Images on which data-dependent initialisers are scaled.
_LSUV_IMAGES = 256


@dataclasses.dataclass(frozen=True)
class Cell:
  """One training: an architecture, an initialiser and a seed."""

  arch: str
  init: str
  seed: int

  @property
  def folder_name(self) -> str:
    return f"{self.arch}__{self.init}__s{self.seed}"

  def __str__(self):
    suffix = INITIALIZERS[self.init].suffix
    return f"{zoo.ARCHS[self.arch].row_name}_{suffix} (seed {self.seed})"


@dataclasses.dataclass(frozen=True)
class InitStudy:
  """The grid and the settings that its cells share."""

  archs: tuple[str, ...] = ("dws_conv_bn",)
  inits: tuple[str, ...] = ("he_uniform",)
  seeds: tuple[int, ...] = (0,)
  bits: tuple[str, ...] = ("w8a8",)
  dataset: str = "cifar10"
  data_dir: str | None = None
  epochs: int = 200
  batch_size: int = 128
  width: float = 1.0
  clip_percentile: float = 1.0
  calibration_images: int = 1024
  output_dir: str = "runs/init_study"

  def identity(self) -> dict:
    """The settings that make two runs the same, the cells' axes apart."""
    axes = ("archs", "inits", "seeds", "bits", "data_dir", "output_dir")
    settings = dataclasses.asdict(self)
    return {key: settings[key] for key in settings if key not in axes}

  def cells(self) -> tuple[Cell, ...]:
    grid = itertools.product(self.archs, self.inits, self.seeds)
    return tuple(Cell(*axes) for axes in grid)

  def spec(self, cell: Cell, num_classes: int = 10) -> NetSpec:
    return zoo.build(cell.arch, self.width, num_classes)

  def folder(self, cell: Cell) -> Path:
    return Path(self.output_dir) / "cells" / cell.folder_name

  def rows(self, cell: Cell) -> list[dict]:
    """One for each width."""
    return [dataclasses.asdict(cell) | {"bits": bits} for bits in self.bits]

  def work(self, cell: Cell, rows, watch: Watcher) -> Iterator[Record]:
    """Trains the cell's network and yields its rows.

    Raises:
      DataError: if the data are missing or damaged.
    """
    data = catalogue.shared(self.dataset, self.data_dir)
    yield from run_cell(self, cell, rows, data, watch)


def run_cell(
  study: InitStudy, cell: Cell, rows, data: Dataset, watch: Watcher
) -> Iterator[Record]:
  """Trains one network and yields each of its `rows`; a row's time is that of
  the training, interruptions not counted, and of all quantising until then."""
  model, outcome = train(study, cell, data, watch)
  begin = time.monotonic()
  logits = predict(model, scaled(data.test_images))
  metrics = _training_metrics(outcome, logits, data)
  dead = lost(metrics.get("fp32_accuracy", 0), data)
  params = keras.params(model)
  tf_keras.backend.clear_session()
  for row in rows:
    scheme = parse_width(row["bits"], study.clip_percentile)
    status, more = "diverged", {}
    if not (outcome.diverged or dead):
      watch.say(f"quantising to {scheme.name}")
      work = _quantisation(study, cell, scheme, params, logits, data)
      status, more = _attempt(work, watch)
    seconds = outcome.seconds + time.monotonic() - begin
    yield Record(
      KIND,
      row,
      record.digest(study.identity()),
      {k: v for k, v in (metrics | more).items() if math.isfinite(v)},
      status,
      record.environment(seconds),
    )


def cell_of(row: Record) -> Cell:
  """The cell that a row belongs to."""
  return Cell(**{k: v for k, v in row.cell.items() if k != "bits"})


def train(
  study: InitStudy,
  cell: Cell,
  data: Dataset,
  report: Callable[[Progress], None] = lambda progress: None,
) -> tuple[tf_keras.Model, Outcome]:
  """Trains the cell's network, or goes on where its folder stands."""
  spec = study.spec(cell, data.num_classes)
  model = keras.build(spec)
  keras.assign(model, start(spec, cell, data))
  config = FitConfig(study.epochs, study.batch_size, seed=cell.seed)
  outcome = fit(model, data, config, str(study.folder(cell)), report)
  return model, outcome


def start(spec: NetSpec, cell: Cell, data: Dataset) -> dict:
  """The parameters that training starts from."""
  params = initial_params(spec, cell.init, cell.seed)
  if not INITIALIZERS[cell.init].data_dependent:
    return params
  images = scaled(data.train_images[:_LSUV_IMAGES])
  return lsuv(spec, params, studied_kernels(spec), images)


def _quantisation(study, cell, scheme, params, logits, data):
  """What quantises the trained network to one width, and measures it."""
  return functools.partial(
    quantise.quantise,
    study.spec(cell, data.num_classes),
    params,
    logits,
    data,
    scheme,
    quantise.calibration(data, study.calibration_images, cell.seed),
    study.folder(cell),
  )


def _attempt(work, watch):
  """Status and metrics; a network that cannot be quantised ends its own row,
  not the grid."""
  try:
    found = work()
    return quantise.status(found), found
  except (QuantError, RefusedError) as error:  # not finite, say
    watch.say(str(error))
    return "failed", {}


def _training_metrics(outcome, logits, data):
  return {
    "epochs": outcome.epochs,
    "steps": outcome.steps,
    "train_loss": outcome.loss,
    "train_accuracy": outcome.accuracy,
    "fp32_accuracy": accuracy.accuracy(logits, data.test_labels),
  }
