"""Rows of training for quantisation by network, width, start, method and
quantizer, seeds together."""

import dataclasses
import itertools
import statistics
from collections.abc import Iterable, Sequence

from qinit.archs.zoo import ARCHS
from qinit.record import Record
from qinit.report.seeds import Seeds

_AXES = ("arch", "bits", "start", "method", "quantizer")
# The float stage of a training, and the stage for quantisation.
_STAGES = ("float_curve", "curve")
# What differs in training: equalising, correcting and learned rounding come
# after that of ptq.
_TRAININGS = ("ptq", "float_qat", "qat")

Curve = Sequence[Sequence[float]]  # [[step, accuracy]]


@dataclasses.dataclass(frozen=True)
class Group(Seeds):
  """The rows of one start, trained in one way, one a seed."""

  arch: str
  bits: str
  start: str
  method: str
  quantizer: str
  records: tuple[Record, ...]

  @property
  def seeds(self) -> str:
    """ "3", or "2 of 3" where one diverged."""
    all_of, left = len(self.records), len(self.trained)
    return str(all_of) if left == all_of else f"{left} of {all_of}"

  @property
  def network(self) -> str:
    return ARCHS[self.arch].row_name if self.arch in ARCHS else self.arch

  @property
  def names(self) -> tuple[str, ...]:
    """What the first columns of a table say."""
    return self.network, self.bits, self.start, self.method, self.quantizer

  @property
  def stage(self) -> str:
    """The stage that counts: without one for quantisation that in float."""
    quantised = any(points(r, "curve") for r in self.records)
    return "curve" if quantised else "float_curve"

  @property
  def is_drawn(self) -> bool:
    """Whether a curve was kept of a training that no other row has too."""
    followed = any(points(r, s) for r in self.records for s in _STAGES)
    return followed and self.method in _TRAININGS

  def arrivals(self, target: float) -> list[float | None]:
    """The steps until `target` percent, a seed that diverged too; None for a
    seed that never was there."""
    return [steps_to(points(r, self.stage), target) for r in self.records]

  def curve(self, stage: str) -> Curve:
    """[[step, mean]] over the seeds that trained and have that step."""
    by_step: dict[float, list[float]] = {}
    for record in self.trained:
      for step, value in points(record, stage):
        by_step.setdefault(step, []).append(value)
    return [(s, statistics.fmean(by_step[s])) for s in sorted(by_step)]


def groups(records: Iterable[Record]) -> list[Group]:
  """The groups of some rows, in the order of the axes."""
  found: dict[tuple[str, ...], list[Record]] = {}
  for record in sorted(records, key=_axes):
    found.setdefault(_axes(record), []).append(record)
  return [
    Group(records=tuple(members), **dict(zip(_AXES, axes, strict=True)))
    for axes, members in found.items()
  ]


def points(record: Record, stage: str) -> Curve:
  """A curve of a row; empty if there is none."""
  return record.metrics.get(stage) or []


def steps_to(curve: Curve, target: float) -> float | None:
  """The first step at which a curve reaches `target`, linear between points;
  None if it never does."""
  if curve and curve[0][1] >= target:
    return float(curve[0][0])
  for (s0, a0), (s1, a1) in itertools.pairwise(curve):
    if a1 >= target:
      return s0 + (target - a0) / (a1 - a0) * (s1 - s0)
  return None


def mean(values: Sequence[float]) -> float | None:
  """The mean; None of nothing."""
  return statistics.fmean(values) if values else None


def _axes(record):
  return tuple(str(record.cell.get(axis, "")) for axis in _AXES)
