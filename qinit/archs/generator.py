"""The networks of a collection, whatever the number of processes.

Candidates are taken in order; the first of a canonical form is kept, in
whichever split it comes.
"""

import collections
import itertools
import os
from collections.abc import Iterator

from qinit.archs import workers
from qinit.archs.collection import CHUNK, Collection, Network
from qinit.errors import QinitError

_PATIENCE = 50_000  # candidates without a new network


class Generator:
  """Generates the splits of a collection one after the other.

  Args:
    processes: how many work; all cores by default. It changes nothing else.
  """

  def __init__(self, collection: Collection, processes: int | None = None):
    self._collection = collection
    self._processes = processes or len(os.sched_getaffinity(0))
    self._digests: dict[str, list[str]] = {}

  def split(self, name: str) -> Iterator[Network]:
    """The networks of a split, after generating those before it whose digests
    it needs. A split is whole when the iterator is at its end.

    Raises:
      QinitError: if the space does not hold enough networks.
    """
    before = self.held_out(name)
    split = next(s for s in self._collection.splits if s.name == name)
    digests = []
    for network in itertools.islice(self._new(split, before), split.size):
      digests.append(network.digest)
      yield network
    self._digests[name] = digests

  def held_out(self, name: str) -> set[str]:
    """Digests of the splits before this one."""
    held_out: set[str] = set()
    for split in self._collection.splits:
      if split.name == name:
        return held_out
      if split.name not in self._digests:
        collections.deque(self.split(split.name), maxlen=0)
      held_out.update(self._digests[split.name])
    raise KeyError(name)

  def _new(self, split, seen):
    """All networks of the split's stream that are not in `seen`, which
    grows."""
    chunks = workers.chunks(split, self._collection.seed, self._processes)
    latest = 0
    for start, networks in zip(itertools.count(0, CHUNK), chunks):
      for network in networks:
        if network.digest not in seen:
          seen.add(network.digest)
          latest = network.number
          yield network
      if start - latest > _PATIENCE:
        raise QinitError(
          f"{split.name}: no new network among {_PATIENCE} candidates: widen"
          " the space or its limits, or ask for fewer networks"
        )
