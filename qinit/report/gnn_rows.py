"""Rows of the graph networks by data set, method and beta, seeds together."""

import dataclasses
from collections.abc import Iterable

from qinit.record import Record
from qinit.report.seeds import Seeds


@dataclasses.dataclass(frozen=True)
class Group(Seeds):
  """The rows of one method on one data set, one a seed."""

  dataset: str
  split: str
  method: str
  beta: float | None
  records: tuple[Record, ...]

  @property
  def status(self) -> str:
    lost = len(self.records) - len(self.trained)
    return f"{lost} of {len(self.records)} diverged" if lost else "ok"


def groups(records: Iterable[Record]) -> list[Group]:
  """Rows gathered by cell: searched methods first, then the others by name.
  Of two rows of the same cell and seed the later counts."""
  cells: dict[tuple[str, str, str, float | None], dict[int, Record]] = {}
  for record in records:
    cell = record.cell
    key = (cell["dataset"], cell["split"], cell["method"], cell["beta"])
    cells.setdefault(key, {})[cell["seed"]] = record
  found = [
    Group(*key, tuple(seeds[s] for s in sorted(seeds)))
    for key, seeds in cells.items()
  ]
  return sorted(found, key=_order)


def _order(group):
  first = ("lpgnas", "float_")
  rank = [group.method.startswith(name) for name in first]
  place = rank.index(True) if any(rank) else len(first)
  beta = -1.0 if group.beta is None else group.beta
  return group.dataset, group.split, place, group.method, beta
