"""Central moments of values that arrive in batches."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Moments:
  """Count, mean and the sums of the 2nd to 4th power of x - mean."""

  count: int = 0
  mean: float = 0.0
  m2: float = 0.0
  m3: float = 0.0
  m4: float = 0.0

  @property
  def kurtosis(self) -> float:
    """n M4 / M2^2: 3 for a normal distribution, NaN for a constant."""
    return self.count * self.m4 / self.m2**2 if self.m2 else math.nan


def moments(values: np.ndarray) -> Moments:
  """The moments of one array, in float64."""
  x = np.asarray(values, np.float64).ravel()
  if not x.size:
    return Moments()
  mean = float(x.mean())
  d = x - mean
  d2 = d * d
  return Moments(x.size, mean, float(d2.sum()), float(d2 @ d), float(d2 @ d2))


def merge(a: Moments, b: Moments) -> Moments:
  """The moments of both sets of values together (Pebay, 2008): sums of plain
  powers would cancel where the mean is large."""
  if not a.count or not b.count:
    return a if a.count else b
  n, d = a.count + b.count, b.mean - a.mean
  ra, rb = a.count / n, b.count / n
  m2 = a.m2 + b.m2 + d**2 * ra * b.count
  m3 = (
    a.m3
    + b.m3
    + d**3 * ra * b.count * (ra - rb)
    + 3 * d * (ra * b.m2 - rb * a.m2)
  )
  m4 = (
    a.m4
    + b.m4
    + d**4 * ra * b.count * (ra**2 - ra * rb + rb**2)
    + 6 * d**2 * (ra**2 * b.m2 + rb**2 * a.m2)
    + 4 * d * (ra * b.m3 - rb * a.m3)
  )
  return Moments(n, a.mean + d * rb, m2, m3, m4)
