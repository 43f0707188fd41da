"""Searched low-precision graph networks and what they are compared with.

A cell is a method, a seed and, for what is searched under a cost, a beta. Each
yields a network, which is trained from scratch in its precision, exported as
integers and run by the integer interpreter.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from qinit import record
from qinit.errors import QinitError, one_of
from qinit.grid.task import Watcher
from qinit.lpgnas import cost, finals, graph_files, integer_file
from qinit.lpgnas.baselines import (
  ARCHITECTURES,
  UNIFORM,
  MixedBits,
  random_search,
  uniform_precision,
  w4a8_space,
)
from qinit.lpgnas.convert import convert
from qinit.lpgnas.degree_quant import DegreeQuant
from qinit.lpgnas.interpreter import Interpreter
from qinit.lpgnas.search import Search, SearchConfig
from qinit.lpgnas.space import Architecture, Space, uniform
from qinit.lpgnas.taps import Quantise
from qinit.lpgnas.training import TrainConfig, Trainer
from qinit.record import Record

KIND = "lpgnas"
SEARCHED = ("lpgnas", "random_search", "w4a8_search")
# Method -> (how, which of the baselines' architectures).
METHODS = {
  **{name: (name, None) for name in SEARCHED},
  **{f"float_{arch}": ("float", arch) for arch in ARCHITECTURES},
  **{f"{row}_{arch}": (row, arch) for row in UNIFORM for arch in ARCHITECTURES},
  "degree_quant8_gcn": ("degree_quant8", "gcn"),
  "degree_quant4_gcn": ("degree_quant4", "gcn"),
  "degree_quant8_gat": ("degree_quant8", "gat"),
  "degree_quant4_gat": ("degree_quant4", "gat"),
  "mixq_gcn": ("mixq", "gcn"),
}


@dataclasses.dataclass(frozen=True)
class Cell:
  """One network: `beta` is None for what has no cost."""

  method: str
  beta: float | None
  seed: int

  @property
  def folder_name(self) -> str:
    beta = "" if self.beta is None else f"__b{self.beta:g}"
    return f"{self.method}{beta}__s{self.seed}"

  def __str__(self):
    beta = "" if self.beta is None else f", beta {self.beta:g}"
    return f"{self.method}{beta} (seed {self.seed})"


@dataclasses.dataclass(frozen=True)
class LpgnasStudy:
  """The grid and the settings that its cells share.

  Attributes:
    finalists: networks of a search that are trained for `final_epochs` each:
      the likeliest, and draws from the controllers. The best on the validation
      nodes is taken; 1 for the likeliest without more ado.
  """

  dataset: str = "karate"
  split: str = "random602020"
  methods: tuple[str, ...] = ("lpgnas",)
  betas: tuple[float, ...] = (0.1,)
  seeds: tuple[int, ...] = (0,)
  data_dir: str | None = None
  blocks: int = 2
  formats: str = "scaled"
  controller: str = "network"
  single_level: bool = False
  search_epochs: int = 300
  finalists: int = 6
  epochs: int = 300
  dropout: float = 0.7
  search_dropout: float = 0.5
  learning_rate: float = 5e-3
  controller_rate: float = 1e-3
  weight_decay: float = 5e-4
  output_dir: str = "runs/lpgnas"

  def __post_init__(self):
    for method in self.methods:
      one_of("method", method, METHODS)
    if min(self.search_epochs, self.epochs, self.finalists) < 1:
      raise QinitError("epochs and finalists must be at least 1")
    self.search_config(Cell("lpgnas", min(self.betas), 0))

  @property
  def final_epochs(self) -> int:
    """A third of those of a whole training."""
    return max(1, self.epochs // 3)

  def identity(self) -> dict:
    """The settings that make two runs the same, the cells' axes apart."""
    axes = ("methods", "betas", "seeds", "data_dir", "output_dir")
    settings = dataclasses.asdict(self)
    return {key: settings[key] for key in settings if key not in axes}

  def cells(self) -> tuple[Cell, ...]:
    grid = itertools.product(self.methods, self.seeds)
    return tuple(
      Cell(method, beta, seed)
      for method, seed in grid
      for beta in (self.betas if method in SEARCHED else (None,))
    )

  def folder(self, cell: Cell) -> Path:
    return Path(self.output_dir) / "cells" / cell.folder_name

  def rows(self, cell: Cell) -> list[dict]:
    """One."""
    where = {"dataset": self.dataset, "split": self.split}
    return [where | dataclasses.asdict(cell)]

  def work(self, cell: Cell, rows, watch: Watcher) -> Iterator[Record]:
    """Finds, trains and measures the cell's network and yields its row.

    Raises:
      DataError: if the graph is missing or damaged.
    """
    yield run_cell(self, cell, self.graph(), watch)

  def graph(self):
    """The graph that is searched on.

    Raises:
      DataError: if it is missing or damaged.
    """
    return _graph(self.dataset, self.data_dir, self.split)

  def train_config(self, cell: Cell) -> TrainConfig:
    return TrainConfig(
      self.epochs,
      self.learning_rate,
      self.weight_decay,
      self.dropout,
      seed=cell.seed,
    )

  def search_config(self, cell: Cell) -> SearchConfig:
    return SearchConfig(
      space=Space(self.blocks, self.formats),
      beta=cell.beta or 0.0,
      epochs=self.search_epochs,
      single_level=self.single_level,
      controller=self.controller,
      learning_rate=self.learning_rate,
      controller_rate=self.controller_rate,
      weight_decay=self.weight_decay,
      dropout=self.search_dropout,
      seed=cell.seed,
    )


_graph = functools.lru_cache(1)(graph_files.load)


def run_cell(study: LpgnasStudy, cell: Cell, graph, watch: Watcher) -> Record:
  """Finds the cell's network, trains it and measures it."""
  return row_of(
    KIND, study, cell, lambda: _measured(study, cell, graph, watch), watch
  )


def row_of(
  kind: str, study, cell, measured: Callable[[], dict], watch: Watcher
) -> Record:
  """The only row of a cell, with the metrics that `measured` returns; it may
  raise FloatingPointError."""
  begin = time.monotonic()
  try:
    status, metrics = "ok", measured()
  except FloatingPointError as error:
    watch.say(str(error))
    status, metrics = "diverged", {}
  return Record(
    kind,
    study.rows(cell)[0],
    record.digest(study.identity()),
    metrics,
    status,
    record.environment(time.monotonic() - begin),
  )


def cell_of(row: Record) -> Cell:
  """The cell that a row belongs to."""
  return Cell(row.cell["method"], row.cell["beta"], row.cell["seed"])


def _measured(study, cell, graph, watch):
  arch, precision, more = _network(study, cell, graph, watch)
  trainer = _trainer(study, cell, graph, arch, precision)
  trained = trainer.run(str(study.folder(cell) / "training"), watch)
  sizes = _sizes(arch, precision, graph)
  metrics = {
    "val_accuracy": trained.val_accuracy,
    "test_accuracy": trained.test_accuracy,
    "test_nodes": len(graph.test),
    **sizes,
    **more,
    "network": {"arch": arch.to_dict(), "precision": precision},
  }
  if isinstance(trainer.tap, Quantise):
    path = study.folder(cell) / "model.npz"
    watch.say("integer inference")
    metrics |= _as_integers(path, graph, arch, precision, trained, trainer)
  return metrics


def _network(study, cell, graph, watch):
  """Architecture, precision (None for float) and what the search says."""
  how, name = METHODS[cell.method]
  if how in SEARCHED:
    return _searched(study, cell, graph, watch)
  arch = ARCHITECTURES[name]
  if how == "mixq":
    watch.say("searching widths")
    config = dataclasses.replace(
      study.train_config(cell), epochs=study.search_epochs
    )
    folder = _search_folder(study, cell)
    return arch, MixedBits(graph, arch, config).run(folder, watch), {}
  if how.startswith("degree_quant"):
    return arch, _degree_quant_widths(arch, int(how[-1])), {}
  precision = None if how == "float" else uniform_precision(how, arch)
  return arch, precision, {}


def _search_folder(study, cell):
  return str(study.folder(cell) / "search")


def _degree_quant_widths(arch, bits):
  """For the sizes: its formats are its own."""
  tensor, coefficient = f"scaled{bits}", f"fix1.{bits - 1}"
  return uniform(len(arch.blocks), tensor, tensor, coefficient)


def _searched(study, cell, graph, watch):
  """As `_network`, of what is searched."""
  if cell.method == "random_search":
    return *_random(study, cell, graph, watch), {}
  config, folder = study.search_config(cell), _search_folder(study, cell)
  if cell.method == "w4a8_search":
    config = dataclasses.replace(config, space=w4a8_space(config.space))
  begin, search = time.monotonic(), Search(graph, config)
  derived = search.run(folder, watch)
  names = ("architecture_entropy", "precision_entropy")
  more = dict(zip(names, derived.entropies, strict=True))
  found = likeliest = derived.arch, derived.precision
  if study.finalists > 1:
    networks = [likeliest, *search.drawn(study.finalists - 1)]
    train, epochs = study.train_config(cell), study.final_epochs
    found = finals.best(graph, networks, config, train, epochs, folder, watch)
    more["likeliest"] = found == likeliest
  watch.say(f"searched in {time.monotonic() - begin:.0f} s")
  return *found, more


def _random(study, cell, graph, watch):
  """Candidates that are trained for as many steps as the others' searches and
  finals take together."""
  config, train = study.search_config(cell), study.train_config(cell)
  watch.say("training random networks")
  steps = config.steps
  if study.finalists > 1:
    steps += study.finalists * study.final_epochs
  folder = _search_folder(study, cell)
  return random_search(graph, config, train, steps, folder=folder, report=watch)


def _trainer(study, cell, graph, arch, precision):
  config, how = study.train_config(cell), METHODS[cell.method][0]
  if how.startswith("degree_quant"):
    tap = DegreeQuant(graph, int(how[-1]))
    return Trainer(graph, arch, config, tap, tap.training)
  tap = Quantise(precision) if precision else None
  return Trainer(graph, arch, config, tap)


def _sizes(arch: Architecture, precision, graph):
  size = cost.GraphSize.of(graph)
  sizes = cost.sizes(arch, precision) if precision else cost.float_sizes(arch)
  return {
    "model_bits": int(cost.model_bits(sizes, size)),
    "weight_bits": int(cost.weight_bits(arch, sizes.bits, size)),
    "buffer_bits": float(cost.buffer_bits(sizes, size)),
    "peak_buffer_bits": cost.peak_buffer_bits(arch, sizes, size),
  }


def _as_integers(path, graph, arch, precision, trained, trainer):
  """Exports the network, reads it back and runs it."""
  model = convert(graph, arch, precision, trained.params)
  path.parent.mkdir(parents=True, exist_ok=True)
  integer_file.write(path, model)
  found = Interpreter(integer_file.read(path), graph).predictions()
  simulated = np.argmax(trainer.logits().numpy(), 1)
  right = found[graph.test] == graph.labels[graph.test]
  return {
    "integer_accuracy": 100 * float(right.mean()),
    "integer_equal": 100 * float((found == simulated).mean()),
    "integer_bytes": integer_file.code_bytes(model),
  }
