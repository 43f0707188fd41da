"""Means over networks and paired differences, as they stand in tables."""

import math
import statistics

from qinit.report.document import MISSING, number

CHANCE = 10.0  # percent
# Percent of the first so many test images in their most frequent class: what a
# network that always says the same may reach.
ONE_ANSWER = {10_000: CHANCE, 1_024: 11.62}
_HUGE = 1e5  # logits may explode at two bits


def mean_and_error(metrics: dict[int, dict], name: str, digits: int) -> str:
  """ "72.0 ± 1.4", over networks, "72.0" for one; in powers of ten where it
  explodes; a dash for none."""
  if not metrics:
    return MISSING
  values = [m[name] for m in metrics.values()]
  parts = [statistics.fmean(values)]
  if len(values) > 1:
    parts.append(standard_error(values))
  huge = abs(parts[0]) >= _HUGE
  return " ± ".join(f"{v:.1e}" if huge else number(v, digits) for v in parts)


def best(metrics: dict[int, dict], name: str) -> str:
  """The maximum over networks, "74.0"."""
  return number(max(m[name] for m in metrics.values()), 1)


def standard_error(values: list[float]) -> float:
  """Of the mean: the population's standard deviation over sqrt(n)."""
  return statistics.pstdev(values) / math.sqrt(len(values))


def compared(mine: dict[int, dict], theirs: dict[int, dict]) -> str:
  """The differences of accuracy over the networks that both have, in points,
  and by how many standard errors: "+20.50 ± 0.50 (41.0)"."""
  return _with_ratio(differences(mine, theirs))


def difference(mine: dict[int, dict], theirs: dict[int, dict]) -> str:
  """As `compared`, without the ratio: "+20.50 ± 0.50"."""
  pairs = differences(mine, theirs)
  return points_and_ratio(pairs)[0] if len(pairs) > 1 else MISSING


def from_chance(metrics: dict[int, dict]) -> str:
  """As `compared`, from what one answer for all images reaches."""
  return _with_ratio(
    [
      m["accuracy"] - ONE_ANSWER[m["images"]]
      for m in metrics.values()
      if m["images"] in ONE_ANSWER
    ]
  )


def differences(mine: dict[int, dict], theirs: dict[int, dict]) -> list[float]:
  """Of accuracies, over the networks that both have."""
  return [
    mine[n]["accuracy"] - theirs[n]["accuracy"] for n in mine if n in theirs
  ]


def points_and_ratio(pairs: list[float]) -> tuple[str, str]:
  """("+20.50 ± 0.50", "41.0"), of two differences or more: the standard error
  is that of a sample."""
  mean = statistics.fmean(pairs)
  error = statistics.stdev(pairs) / math.sqrt(len(pairs))
  ratio = number(mean / error, 1) if error else MISSING
  return f"{mean:+.2f} ± {error:.2f}", ratio


def _with_ratio(pairs):
  """ "+20.50 ± 0.50 (41.0)"; a dash for fewer than two."""
  if len(pairs) < 2:
    return MISSING
  points, ratio = points_and_ratio(pairs)
  return f"{points} ({ratio})"
