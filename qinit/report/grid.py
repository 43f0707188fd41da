"""Rows of the initialisation study by cell of the grid, seeds together."""

import dataclasses
import math
import statistics
from collections.abc import Iterable
from typing import TypeGuard

from qinit.archs.zoo import ARCHS
from qinit.params.initializers import INITIALIZERS
from qinit.record import Record
from qinit.report.seeds import Seeds

AXES = ("arch", "init", "bits", "seed")
MAIN_BITS = "w8a8"


@dataclasses.dataclass(frozen=True)
class Group(Seeds):
  """The rows of one architecture, initialiser and width; one row a seed."""

  arch: str
  init: str
  bits: str
  records: tuple[Record, ...]

  @property
  def name(self) -> str:
    return row_name(self.arch, self.init)

  @property
  def diverged(self) -> bool:
    """True if no seed trained and at least one diverged."""
    return not self.trained and any(
      r.status == "diverged" for r in self.records
    )

  @property
  def status(self) -> str:
    """One of "ok", "diverged", "failed" or, say, "1 of 3 diverged"."""
    lost = [r.status for r in self.records if r.status != "ok"]
    if not lost:
      return "ok"
    counts = ((s, lost.count(s)) for s in ("diverged", "failed") if s in lost)
    total = len(self.records)
    return ", ".join(
      status if count == total else f"{count} of {total} {status}"
      for status, count in counts
    )

  def values(self, metric: str) -> list[float]:
    """The finite values of a metric: of the seeds that trained or, where
    none did, of those that did not, so that a lost row shows what it has."""
    found = (r.metrics.get(metric) for r in self.trained or self.records)
    return [v for v in found if _is_number(v)]

  @property
  def minutes(self) -> float | None:
    """The mean time that a seed took; None where it was not recorded."""
    seconds = [r.env["seconds"] for r in self.records if "seconds" in r.env]
    return statistics.fmean(seconds) / 60 if seconds else None


def row_name(arch: str, init: str) -> str:
  """The paper's name of a cell, "DWS_Conv_With_BN_HeUni"; an unknown part
  keeps its own name."""
  first = ARCHS[arch].row_name if arch in ARCHS else arch
  return f"{first}_{suffix(init)}"


def suffix(init: str) -> str:
  """The paper's name of an initialiser, "HeUni"."""
  return INITIALIZERS[init].suffix if init in INITIALIZERS else init


def groups(records: Iterable[Record]) -> list[Group]:
  """Rows gathered by cell, in the order of the two tables of names. Of two
  rows of the same cell and seed the later counts."""
  cells: dict[tuple[str, str, str], dict[int, Record]] = {}
  for record in records:
    if all(axis in record.cell for axis in AXES):
      arch, init, bits, seed = (record.cell[axis] for axis in AXES)
      cells.setdefault((arch, init, bits), {})[seed] = record
  found = [
    Group(*cell, tuple(seeds[s] for s in sorted(seeds)))
    for cell, seeds in cells.items()
  ]
  return sorted(found, key=_order)


def cell_order(cell: tuple[str, str, object]):
  """Sorts (arch, init, anything) in the order of the two tables of names."""
  arch, init, rest = cell
  return _position(arch, ARCHS), _position(init, INITIALIZERS), rest


def _order(group):
  return cell_order(
    (group.arch, group.init, (group.bits != MAIN_BITS, group.bits))
  )


def _position(name, table):
  names = list(table)
  return (names.index(name) if name in names else len(names), name)


def _is_number(value) -> TypeGuard[float]:
  return isinstance(value, int | float) and math.isfinite(value)
