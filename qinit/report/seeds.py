"""Rows that differ by their seed alone."""

import math
import statistics

from qinit.record import Record


class Seeds:
  """What the groups of all studies say of their rows, one row a seed."""

  records: tuple[Record, ...]

  @property
  def trained(self) -> tuple[Record, ...]:
    return tuple(r for r in self.records if r.status == "ok")

  def values(self, metric: str) -> list[float]:
    """The finite values of a metric, of the seeds that trained."""
    found = (r.metrics.get(metric) for r in self.trained)
    return [v for v in found if v is not None and math.isfinite(v)]

  def mean(self, metric: str) -> float | None:
    """The mean over `values`; None without any."""
    values = self.values(metric)
    return statistics.fmean(values) if values else None

  def sd(self, metric: str) -> float | None:
    """The sample standard deviation over `values`; None for fewer than two."""
    values = self.values(metric)
    return statistics.stdev(values) if len(values) > 1 else None
