"""What a data set of networks consists of.

Test splits come before training splits, so that none of their networks is
trained on.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from qinit.archs import canonical, genotype, sampler, space
from qinit.archs.count import count
from qinit.archs.genotype import NetConfig
from qinit.archs.space import PAPER, PAPER_SIZES, Space
from qinit.errors import DataError, QinitError, SpecError

# To be raised whenever the same collection would hold other networks.
GENERATOR = 1
CHUNK = 64
_BN_FREE_50K = "bn_free_50k"


class Network(NamedTuple):
  """A stored network.

  `spec` is the JSON text of its constructor arguments, from which the rest
  follows; `number` that of its candidate, or its place where it is read.
  """

  number: int
  spec: str
  num_nodes: int
  num_params: int
  macs: int
  digest: str

  @property
  def config(self) -> NetConfig:
    return genotype.from_json(self.spec)

  def check(self) -> None:
    """Raises DataError if the numbers are not those of the spec."""
    try:
      found = describe(self.number, self.config)
    except SpecError as error:
      raise DataError(f"a stored network is damaged: {error}") from None
    if found[2:] != self[2:]:
      raise DataError(
        f"a stored network is damaged: its digest is {self.digest}, that of"
        f" its arguments {found.digest}"
      )


@dataclasses.dataclass(frozen=True)
class Split:
  """`size` networks of the candidates of `stream`; not stored if they are
  there only to be kept out of what follows."""

  name: str
  stream: str
  space: Space
  size: int
  stored: bool = True


@dataclasses.dataclass(frozen=True)
class Collection:
  """Splits in the order in which they are generated.

  Raises:
    QinitError: for a split without networks or a seed that is no seed.
  """

  splits: tuple[Split, ...]
  seed: int = 0

  def __post_init__(self):
    if not 0 <= self.seed < 2**63:
      raise QinitError(f"a seed is a whole number from 0, not {self.seed}")
    for split in self.splits:
      if split.size < 1:
        raise QinitError(f"{split.name} needs at least one network")

  def identity(self) -> dict:
    """What decides which networks there are, as plain data."""
    splits = [
      dataclasses.asdict(split) | {"space": space.digest(split.space)}
      for split in self.splits
    ]
    return {"generator": GENERATOR, "seed": self.seed, "splits": splits}

  def stored(self) -> tuple[Split, ...]:
    return tuple(split for split in self.splits if split.stored)

  def only(self, names: Iterable[str]) -> "Collection":
    """The same networks with only the splits of these names stored."""
    names = set(names)
    splits = [
      dataclasses.replace(split, stored=split.name in names)
      for split in self.splits
    ]
    while splits and not splits[-1].stored:
      del splits[-1]
    return dataclasses.replace(self, splits=tuple(splits))


def convnets_250k(
  size: int | None = None,
  seed: int = 0,
  change: Callable[[Space], Space] = lambda space: space,
) -> Collection:
  """ConvNets-250K: the test splits, then `train`.

  Args:
    size: networks of each split; the paper's sizes by default.
    change: makes other spaces of the paper's.
  """
  splits = tuple(
    Split(name, name, change(PAPER[name]), size or PAPER_SIZES[name])
    for name in PAPER
    if name != _BN_FREE_50K
  )
  return Collection(splits, seed)


def bn_free_50k(
  size: int | None = None,
  seed: int = 0,
  change: Callable[[Space], Space] = lambda space: space,
) -> Collection:
  """BNFree-ConvNets-50K: `train`, without the networks of ConvNets-250K's
  test splits."""
  held_out = [
    dataclasses.replace(split, stored=False)
    for split in convnets_250k(size, seed, change).splits
    if split.name != "train"
  ]
  networks = size or PAPER_SIZES[_BN_FREE_50K]
  train = Split("train", _BN_FREE_50K, change(PAPER[_BN_FREE_50K]), networks)
  return Collection((*held_out, train), seed)


# By the name of their data set.
NAMED = {
  "convnets_250k": convnets_250k(),
  "bn_free_50k": bn_free_50k(),
  "mobilenet_like": convnets_250k(change=space.mobilenet_like),
}


def describe(number: int, config: NetConfig) -> Network:
  """The candidate as it is stored."""
  counts = count(config)
  return Network(
    number,
    to_json(config),
    counts.num_nodes,
    counts.num_params,
    counts.macs,
    canonical.digest(config),
  )


def example(network: Network) -> tuple[int, dict]:
  """The network as TFDS stores it, under a key that keeps the order."""
  fields = network._asdict()
  return fields.pop("number"), fields


def to_json(config: NetConfig) -> str:
  """The constructor arguments, without the number of classes."""
  arguments = dataclasses.asdict(config)
  del arguments["num_classes"]
  return json.dumps(arguments, separators=(",", ":"))


def split_digest(digests: Iterable[str]) -> str:
  """Sixteen hex digits that identify a split: of its networks' digests in
  their order."""
  return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def chunk(split: Split, seed: int, start: int) -> list[Network]:
  """The acceptable ones of the `CHUNK` candidates from `start`."""
  candidates = (
    (i, sampler.candidate(split.space, seed, split.stream, i))
    for i in range(start, start + CHUNK)
  )
  return [describe(i, config) for i, config in candidates if config]
