"""What hypernetworks predict for unseen networks, before and after
quantisation (Tables 3 to 5 of Starting Positions Matter)."""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from qinit import ghn as hypernetworks
from qinit import record
from qinit.archs import darts
from qinit.archs.collection import Network, convnets_250k
from qinit.archs.convnets import ConvNets
from qinit.archs.generator import Generator
from qinit.errors import QinitError, RunError, one_of
from qinit.files import short_name, write_text
from qinit.ghn.hypernet import HyperNet
from qinit.grid import run as grid
from qinit.grid.task import Engine, Watcher
from qinit.quant.mixed import Mixed
from qinit.quant.simulation import Simulation
from qinit.quant.widths import FLOAT, simulations
from qinit.record import Record
from qinit.stats import accuracy
from qinit.study.ghn_logits import Images, Predicted, at_once
from qinit.study.ghn_step import widths_of, with_steps

KIND = "ghn_eval"
SPLITS = ("test", "deep", "wide", "bn_free")
_TOP = 5
# Of a network's predicted kernels: percentiles kept for the distributions.
PERCENTILES = (0, 1, 25, 50, 75, 99, 100)
_DRAWN = 2  # networks per split whose distributions are kept


@dataclasses.dataclass(frozen=True)
class Cell:
  """A network of a split."""

  split: str
  index: int
  digest: str

  def __str__(self):
    return f"{self.split} {self.index}"


@dataclasses.dataclass(frozen=True)
class GhnEval:
  """What to evaluate.

  Attributes:
    ghn: a `.pt` file, a folder, or a published name.
    label: what the rows call it; the name of its run folder by default.
    splits: of SPLITS.
    bits: "float", "w8a8", ... (see `widths.simulations`). The first is always
      float: what quantisation changes is counted from there. "w2a2_noise" is
      the noise that stands for rounding in training.
    networks: of each split, the first so many; 0 for all.
    images: test images, in the order of the file; 0 for all.
    weight_clip: a row of WEIGHT_CLIPS.
    virtual_edge: cut-off of the shortest paths; 0 for the hypernetwork's own.
    sampled: networks of each split are sampled now instead of read.

  Raises:
    QinitError: for a name that does not exist.
  """

  ghn: str
  label: str = ""
  splits: tuple[str, ...] = SPLITS
  bits: tuple[str, ...] = ("float", "w8a8", "w4a8", "w4a4", "w2a2")
  networks: int = 60
  images: int = 10_000
  weight_clip: str = "absolute"
  virtual_edge: int = 0
  sampled: bool = False
  data_dir: str | None = None
  networks_dir: str | None = None
  output_dir: str = "runs/ghn_eval"

  def __post_init__(self):
    for split in self.splits:
      one_of("split", split, SPLITS)
    if not self.bits or self.bits[0] != FLOAT:
      raise QinitError("--bits begins with float, which the others are held to")
    self.ways()

  @property
  def name(self) -> str:
    """What the rows call the hypernetwork."""
    return self.label or short_name(self.ghn)

  def identity(self) -> dict:
    """The settings that make two runs the same, the cells' axes apart."""
    return {"sampled": self.sampled, "virtual_edge": self.virtual_edge}

  def cells(self) -> tuple["Cell", ...]:
    """The networks, split by split; raises DataError if they are missing."""
    return tuple(
      Cell(split, index, network.digest)
      for split in self.splits
      for index, network in enumerate(networks(self, split))
    )

  def rows(self, cell: "Cell") -> list[dict]:
    """One for each width."""
    shared = {
      "ghn": self.name,
      "split": cell.split,
      "network": cell.index,
      "digest": cell.digest,
      "images": self.images,
      "weight_clip": self.weight_clip,
      "ranges": "batch",
      "batch_norm": "batch",
    }
    return [shared | {"bits": bits} for bits in self.bits]

  def work(self, cell: "Cell", rows, watch: Watcher) -> Iterator[Record]:
    """Predicts the network's parameters and yields these of its rows; the
    float network runs in any case.

    Raises:
      QinitError: if hypernetwork, images or networks are missing.
    """
    network = networks(self, cell.split)[cell.index]
    ghn, images = load(self), Images.load(self.data_dir, self.images)
    first = self.rows(cell)[0]
    needed = rows if rows[0] == first else [first, *rows]
    for row in evaluate(self, ghn, network, needed, images):
      if row.cell in rows:
        yield row

  def ways(self) -> dict[str, Simulation | Mixed | None]:
    """The quantisations by the name of their width."""
    return simulations(self.bits, weight_clip=self.weight_clip)


def run(
  settings: GhnEval, watch: Watcher | None = None, engine: Engine = grid.serial
) -> Iterator[Record]:
  """The rows, as `grid.run` yields them.

  Raises:
    RunError: if the folder belongs to other settings, holds rows of other
      weights under the same name, or is damaged.
    QinitError: if hypernetwork, images or networks are missing.
  """
  digest = _digest(load(settings))
  record.open_run(settings.output_dir, settings.identity())
  path = Path(settings.output_dir) / "hypernetworks.json"
  known = _known(path)
  if known.setdefault(settings.name, digest) != digest:
    raise RunError(
      f"{settings.output_dir} has rows of another hypernetwork that is called"
      f" {settings.name}: give this one another --label"
    )
  write_text(path, json.dumps(known, indent=2, sort_keys=True) + "\n")
  yield from grid.run(settings, watch, engine)


def _known(path):
  """The digests of the hypernetworks that a folder has rows of, by name."""
  try:
    return dict(json.loads(path.read_text())) if path.exists() else {}
  except (ValueError, TypeError):
    raise RunError(
      f"{path} is damaged: delete it if the hypernetworks are still those that"
      " the rows are of, or choose another --output_dir"
    ) from None


def _digest(ghn):
  """Twelve hex digits that identify the weights."""
  found = hashlib.sha256()
  for weight in ghn.weights.values():
    found.update(weight.numpy().tobytes())
  return found.hexdigest()[:12]


@functools.lru_cache(1)
def load(settings: GhnEval) -> HyperNet:
  """The hypernetwork, with the cut-off that is asked for."""
  ghn = hypernetworks.load(settings.ghn)
  if not settings.virtual_edge:
    return ghn
  config = dataclasses.replace(ghn.config, virtual_edge=settings.virtual_edge)
  return HyperNet(config, {n: w.numpy() for n, w in ghn.weights.items()})


@functools.lru_cache(len(SPLITS))
def networks(settings: GhnEval, split: str) -> Sequence[Network]:
  """The networks of a split; raises DataError if they are missing."""
  if settings.sampled:
    return list(Generator(convnets_250k(settings.networks), 1).split(split))
  stored = ConvNets(settings.networks_dir, split)
  count = min(settings.networks or len(stored), len(stored))
  return [stored[i] for i in range(count)]


def evaluate(
  settings: GhnEval,
  ghn: HyperNet,
  network: Network,
  rows: list[dict],
  images: Images,
) -> Iterator[Record]:
  """The rows of one network at all widths, which share its prediction (unless
  the hypernetwork sees the width), the images and the float logits."""
  begin = time.monotonic()
  spec = darts.build(network.config)
  graph = ghn.view(spec)
  ways, made, reference = settings.ways(), None, None
  for row in rows:
    bits = row["bits"]
    widths = widths_of(ways[bits], spec, graph)
    if made is None or ghn.config.widths:
      made = Predicted(spec, ghn.predict(spec, widths), images)
    params = with_steps(ghn, made.params, ways[bits], graph, widths)
    logits = made.logits(params, ways[bits], row["network"])
    reference = logits if reference is None else reference
    metrics = _metrics(reference, logits, images.labels)
    status = "ok" if np.isfinite(logits).all() else "failed"
    if bits == FLOAT and row["network"] < _DRAWN:
      metrics["layers"] = layers(made.params)
    yield Record(
      KIND,
      row,
      record.digest(settings.identity()),
      metrics if status == "ok" else {},
      status,
      record.environment(time.monotonic() - begin, at_once()),
    )
    begin = time.monotonic()


def layers(params) -> list[list]:
  """Each predicted kernel: its name and the percentiles of its values."""
  return [
    [key, *np.percentile(np.asarray(w), PERCENTILES).astype(float).round(5)]
    for key, w in params.items()
    if key.endswith("kernel")
  ]


def _metrics(reference, logits, labels):
  base, own = (accuracy.accuracy(z, labels) for z in (reference, logits))
  return {
    "images": len(labels),
    "accuracy": own,
    "top5": accuracy.top_accuracy(logits, labels, _TOP),
    "accuracy_change": own - base,
    "qmse": accuracy.qmse(reference, logits),
    "qce": accuracy.qce(reference, logits),
    "kl": accuracy.kl(reference, logits),
  }
