"""How few bits can a hypernetwork be stored and run in, while the networks
that it predicts keep their accuracy?

A cell is a method, a seed and, for the search, a beta: the hypernetwork as it
is, trained on in float, trained on in one precision throughout, or searched.
All but the first see the same number of steps. What is measured is the
hypernetwork that was written to a file of codes and read back.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qinit.archs import darts
from qinit.data import cifar10
from qinit.errors import QinitError, one_of
from qinit.functional import chains
from qinit.ghn.hypernet import HyperNet
from qinit.grid.task import Watcher
from qinit.lpgnas import hypernet, hypernet_cost, hypernet_file
from qinit.lpgnas.hypernet import Searched
from qinit.lpgnas.search import SearchConfig
from qinit.record import Record
from qinit.stats.accuracy import accuracy
from qinit.study import ghn_data, ghn_eval, ghn_precision
from qinit.study.ghn_data import Stream
from qinit.study.ghn_eval import GhnEval
from qinit.study.ghn_logits import Images
from qinit.study.lpgnas import Cell, row_of

KIND = "lpgnas_ghn"
SPLIT = "test"
HELD_OUT = 5_000  # of the training images, for the choices
_CALIBRATED = 16  # networks whose predictions give the exponents
_SAID = 8  # networks from word to word in the evaluation
# Formats of matrices and vectors, where there is one for all.
UNIFORM = {
  "w8a8": ("scaled8", "scaled8"),
  "w4a8": ("scaled4", "scaled8"),
  "w4a4": ("scaled4", "scaled4"),
  "w3a8": ("scaled3", "scaled8"),
  "w2a8": ("ternary", "scaled8"),
}
METHODS = ("lpgnas", "float", "float_trained", *UNIFORM)


@dataclasses.dataclass(frozen=True)
class LpgnasGhn:
  """The grid and the settings that its cells share.

  Attributes:
    ghn: a `.pt` file, a folder, or a published name.
    methods: of METHODS; "float" is always among them.
    networks: of the training and the test split, sampled now instead of read,
      if not 0.
    test_networks: evaluated, the first so many of the test split.
    images: test images.

  Raises:
    QinitError: for a name or number that is not possible.
  """

  ghn: str
  methods: tuple[str, ...] = ("lpgnas",)
  betas: tuple[float, ...] = (0.1,)
  seeds: tuple[int, ...] = (0,)
  search_steps: int = 300
  tune_steps: int = 300
  batch_size: int = 32
  meta_batch: int = 4
  learning_rate: float = 3e-4
  controller_rate: float = 0.05
  networks: int = 0
  test_networks: int = 32
  images: int = 2_048
  data_dir: str | None = None
  networks_dir: str | None = None
  output_dir: str = "runs/lpgnas_ghn"

  def __post_init__(self):
    for method in self.methods:
      one_of("method", method, METHODS)
    counts = ("search_steps", "tune_steps", "test_networks", "images")
    for name in counts:
      if getattr(self, name) < 1:
        raise QinitError(f"{name} must be at least 1")
    self.search_config(Cell("lpgnas", min(self.betas), 0))

  def identity(self) -> dict:
    """The settings that make two runs the same, the cells' axes apart."""
    axes = ("methods", "betas", "seeds")
    places = ("data_dir", "networks_dir", "output_dir")
    settings = dataclasses.asdict(self) | {"ghn": self.evaluation.name}
    return {k: v for k, v in settings.items() if k not in (*axes, *places)}

  def cells(self) -> tuple[Cell, ...]:
    methods = dict.fromkeys(("float", *self.methods))
    return tuple(
      Cell(method, beta, seed)
      for method, seed in itertools.product(methods, self.seeds)
      for beta in (self.betas if method == "lpgnas" else (None,))
      if method != "float" or seed == self.seeds[0]  # it has no randomness
    )

  def folder(self, cell: Cell) -> Path:
    return Path(self.output_dir) / "cells" / cell.folder_name

  def rows(self, cell: Cell) -> list[dict]:
    """One."""
    where = {"ghn": self.evaluation.name, "split": SPLIT}
    return [where | dataclasses.asdict(cell)]

  def work(self, cell: Cell, rows, watch: Watcher) -> Iterator[Record]:
    """Finds, trains and measures the cell's hypernetwork and yields its row.

    Raises:
      QinitError: if hypernetwork, images or networks are missing.
    """
    yield row_of(KIND, self, cell, lambda: _measured(self, cell, watch), watch)

  @property
  def evaluation(self) -> GhnEval:
    """What loads the hypernetwork, the test networks and the test images."""
    return GhnEval(
      self.ghn,
      splits=(SPLIT,),
      bits=("float",),
      networks=self.networks or self.test_networks,
      images=self.images,
      sampled=bool(self.networks),
      data_dir=self.data_dir,
      networks_dir=self.networks_dir,
    )

  def search_config(self, cell: Cell) -> SearchConfig:
    return SearchConfig(
      beta=cell.beta or 0.0,
      epochs=self.search_steps,
      controller="logits",
      learning_rate=self.learning_rate,
      controller_rate=self.controller_rate,
      seed=cell.seed,
    )


@dataclasses.dataclass(frozen=True)
class Data:
  """Training images and networks: what the weights learn from in the search
  and behind it, and what the choices learn from."""

  search: Stream
  held_out: Stream
  tune: Stream

  @classmethod
  def load(cls, study: LpgnasGhn, seed: int) -> "Data":
    """Raises DataError."""
    images, labels = cifar10.load(study.data_dir, "train")
    known, held_out = slice(-HELD_OUT), slice(-HELD_OUT, None)
    networks = ghn_data.networks("train", study.networks_dir, study.networks)

    def stream(part, number):
      return Stream(
        images[part],
        labels[part],
        networks,
        study.batch_size,
        study.meta_batch,
        3 * seed + number,
      )

    return cls(stream(known, 0), stream(held_out, 1), stream(known, 2))


def _measured(study, cell, watch) -> dict:
  base = ghn_eval.load(study.evaluation)
  if cell.method == "float":
    return _accuracies(study, base, watch) | _sizes(base.config, {})
  data, folder = Data.load(study, cell.seed), study.folder(cell)
  if cell.method == "float_trained":
    ghn = HyperNet(base.config, base.weights)  # variables of its own
    _train(study, cell, ghn, data, watch)
    return _accuracies(study, ghn, watch) | _sizes(ghn.config, {})
  ghn, found = _low_precision(study, cell, base, data, watch)
  _train(study, cell, ghn, data, watch)
  path = folder / "model.npz"
  path.parent.mkdir(parents=True, exist_ok=True)
  hypernet_file.write(path, ghn)
  bits = hypernet_cost.widths(ghn.precision)
  weights, vectors = hypernet_cost.mean_widths(ghn.config, bits)
  return {
    **_accuracies(study, hypernet_file.read(path), watch),
    **_sizes(ghn.config, bits),
    **found,
    "mean_weight_bits": weights,
    "mean_vector_bits": vectors,
    "weight_bytes": hypernet_file.weight_bytes(path),
    "precision": ghn.precision,
  }


def _low_precision(study, cell, base, data, watch):
  """The hypernetwork with a precision to train in, and what the search says
  of itself."""
  networks = data.search.networks
  count = min(_CALIBRATED, len(networks))
  specs = [darts.build(networks[i].config) for i in range(count)]
  exponents = hypernet.exponents(base, specs)
  ghn = Searched(base.config, base.weights, exponents)
  if cell.method != "lpgnas":
    ghn.precision = hypernet.uniform(base.config, *UNIFORM[cell.method])
    return ghn, {}
  search = ghn_precision.Search(
    ghn, study.search_config(cell), data.search, data.held_out
  )
  derived = search.run(str(study.folder(cell) / "search"), watch)
  watch.say("searched")
  ghn.precision = derived.precision
  return ghn, {"entropy": derived.entropy}


def _train(study, cell, ghn, data, watch):
  """A search's weights have learnt in its steps, too."""
  searched = cell.method == "lpgnas"
  steps = study.tune_steps + (0 if searched else study.search_steps)
  folder = str(study.folder(cell) / "training")
  rate = study.learning_rate
  ghn_precision.train(ghn, data.tune, steps, rate, folder, watch)


def _accuracies(study, ghn: HyperNet, watch) -> dict:
  """Of the predictions for the test networks, in percent, and their mean."""
  networks = ghn_eval.networks(study.evaluation, SPLIT)[: study.test_networks]
  images = Images.load(study.evaluation.data_dir, study.evaluation.images)
  found: list[float] = []
  for network in networks:
    found.append(_accuracy(ghn, network, images))
    if len(found) % _SAID == 0:
      watch.say(f"evaluated {len(found)} of {len(networks)} networks")
  return {"accuracy": float(np.mean(found)), "accuracies": found}


def _accuracy(ghn, network, images):
  spec = darts.build(network.config)
  params = ghn.predict(spec)
  batches = [chains.forward(spec, params, x) for x in images.batches]
  return accuracy(np.concatenate(batches), images.labels)


def _sizes(config, bits):
  return {
    "model_bits": hypernet_cost.model_bits(config, bits),
    "buffer_bits": hypernet_cost.buffer_bits(config, bits),
  }
