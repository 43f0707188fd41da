"""The random-initialisation study (Section 3 of Starting Positions Matter).

Train a CNN from a chosen initialiser, fold BatchNorm, quantise to unsigned
integers, measure what that cost and where, and export a file that runs.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import tf_keras

from qinit import keras
from qinit.archs import zoo
from qinit.data.dataset import Dataset, scaled
from qinit.functional.lsuv import lsuv
from qinit.graph.spec import NetSpec
from qinit.keras.fit import FitConfig, Outcome, Progress, fit
from qinit.params.initializers import (
  INITIALIZERS,
  initial_params,
  studied_kernels,
)

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

  def cells(self) -> tuple[Cell, ...]:
    grid = itertools.product(self.archs, self.inits, self.seeds)
    return tuple(Cell(*axes) for axes in grid)

  def spec(self, cell: Cell, num_classes: int = 10) -> NetSpec:
    return zoo.build(cell.arch, self.width, num_classes)

  def folder(self, cell: Cell) -> Path:
    return Path(self.output_dir) / "cells" / cell.folder_name


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
