"""What the findings ask of the rows; what is not there raises Missing."""

import math
import statistics
from collections.abc import Iterable

import numpy as np

from qinit.params.initializers import PAPER_INITIALIZERS
from qinit.record import Record
from qinit.report import grid
from qinit.report.tables import Layers
from qinit.stats.layerwise import LayerRow, of_kind

# A comparison with "the others" needs at least so many of them.
LEAST_OTHERS = 4


class Missing(Exception):
  """Rows that a finding needs and that are not there; says which."""


class Evidence:
  """The cells of the paper's twelve initialisers at 8 bits, seeds averaged.

  Args:
    records: rows of kind "init_study".
    layers: layerwise rows by (arch, init, seed).
  """

  def __init__(self, records: Iterable[Record], layers: Layers | None = None):
    self._groups = {
      (g.arch, g.init): g
      for g in grid.groups(records)
      if g.bits == grid.MAIN_BITS and g.init in PAPER_INITIALIZERS
    }
    self._layers = layers or {}

  def archs(self) -> list[str]:
    return list(dict.fromkeys(arch for arch, _ in self._groups))

  def trained(self, arch: str) -> list[str]:
    """The initialisers of `arch` with a trained seed and a quantised
    accuracy."""
    return [
      init
      for init in PAPER_INITIALIZERS
      if (group := self._groups.get((arch, init)))
      and group.trained
      and group.mean("accuracy_decrease") is not None
    ]

  def finished(self, arch: str) -> dict[str, bool]:
    """For each initialiser of `arch` that trained or diverged: which."""
    return {
      init: group.diverged
      for (a, init), group in self._groups.items()
      if a == arch and (group.trained or group.diverged)
    }

  def metric(self, arch: str, init: str, name: str) -> float:
    """The mean over the trained seeds."""
    group, row = self._groups.get((arch, init)), grid.row_name(arch, init)
    if group is None:
      raise Missing(f"{row} has not been run")
    if not group.trained:
      raise Missing(f"{row} {group.status}")
    if (value := group.mean(name)) is None:
      raise Missing(f"{row} has no {name}")
    return value

  def decrease(self, arch: str, init: str) -> float:
    return self.metric(arch, init, "accuracy_decrease")

  def median_decrease(self, arch: str, but: Iterable[str]) -> float:
    """The median over the initialisers of `arch` other than `but`."""
    others = [i for i in self.trained(arch) if i not in but]
    if len(others) < LEAST_OTHERS:
      raise Missing(
        f"{len(others)} other initialisers of {arch} trained,"
        f" {LEAST_OTHERS} are needed"
      )
    return statistics.median(self.decrease(arch, i) for i in others)

  def runs(self, arch: str, init: str) -> list[list[LayerRow]]:
    """The layerwise rows of every seed."""
    found = [
      self._layers[key]
      for key in sorted(self._layers)
      if key[:2] == (arch, init)
    ]
    if not found:
      raise Missing(f"{grid.row_name(arch, init)} has no layerwise rows")
    return found

  def layer_means(self, arch: str, init: str) -> tuple[float, float, float]:
    """Mean log10 activation range over all layers, then mean log10 weight
    range and mean average precision over the first third of them."""
    return tuple(
      np.mean([_layer_means(rows) for rows in self.runs(arch, init)], axis=0)
    )


def log_range(row: LayerRow) -> float:
  """log10 of the range, NaN for a dead tensor."""
  return math.log10(row.range) if row.range > 0 else math.nan


def _layer_means(rows):
  weights, activations = of_kind(rows, "weight"), of_kind(rows, "activation")
  early = weights[: max(1, math.ceil(len(weights) / 3))]
  columns = (
    [log_range(r) for r in activations],
    [log_range(r) for r in early],
    [r.average_precision for r in early],
  )
  if any(np.isnan(c).all() for c in columns):
    raise Missing("layerwise rows without a usable layer")
  return [float(np.nanmean(c)) for c in columns]
