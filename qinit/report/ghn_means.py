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
  return " ± ".join(_written(v, digits, huge) for v in parts)


def with_median(metrics: dict[int, dict], name: str, digits: int) -> str:
  """ "72.0 ± 1.4; 72.5", the median behind `mean_and_error`: a single network
  whose logits explode may make the mean."""
  if not metrics:
    return MISSING
  median = statistics.median(m[name] for m in metrics.values())
  told = _written(median, digits, abs(median) >= _HUGE)
  return f"{mean_and_error(metrics, name, digits)}; {told}"


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
  return _with_ratio(above_chance(metrics))


def above_chance(metrics: dict[int, dict]) -> list[float]:
  """Accuracies less what one answer for all images reaches, in points, of the
  networks where that is known."""
  return [
    m["accuracy"] - ONE_ANSWER[m["images"]]
    for m in metrics.values()
    if m["images"] in ONE_ANSWER
  ]


def at_chance(metrics: dict[int, dict]) -> int:
  """How many networks have the accuracy of one answer for all images."""
  return sum(abs(points) < 0.005 for points in above_chance(metrics))


def differences(mine: dict[int, dict], theirs: dict[int, dict]) -> list[float]:
  """Of accuracies, over the networks that both have."""
  return [
    mine[n]["accuracy"] - theirs[n]["accuracy"] for n in mine if n in theirs
  ]


def points_and_ratio(pairs: list[float]) -> tuple[str, str]:
  """("+20.50 ± 0.50", "41.0"), of two differences or more: the standard error
  is that of a sample."""
  mean, error = sample_error(pairs)
  ratio = number(mean / error, 1) if error else MISSING
  return f"{mean:+.2f} ± {error:.2f}", ratio


def sample_error(values: list[float]) -> tuple[float, float]:
  """Mean and its standard error s / sqrt(n), s with n - 1, of two or more."""
  error = statistics.stdev(values) / math.sqrt(len(values))
  return statistics.fmean(values), error


def _written(value, digits, huge):
  return f"{value:.1e}" if huge else number(value, digits)


def _with_ratio(pairs):
  """ "+20.50 ± 0.50 (41.0)"; a dash for fewer than two."""
  if len(pairs) < 2:
    return MISSING
  points, ratio = points_and_ratio(pairs)
  return f"{points} ({ratio})"
