"""Rank statistics."""

import math

import numpy as np


def ranks(values) -> np.ndarray:
  """Ranks from 0; equal values share the mean of theirs."""
  values = np.asarray(values, np.float64)
  below = np.sum(values[:, None] > values, axis=1)
  equal = np.sum(values[:, None] == values, axis=1)
  return below + (equal - 1) / 2


def rank_correlation(x, y) -> float:
  """Spearman's rho, the correlation of the ranks, in -1..1; NaN where one
  side is constant or there are fewer than two values."""
  if len(x) < 2:
    return math.nan
  rx, ry = ranks(x), ranks(y)
  rx, ry = rx - rx.mean(), ry - ry.mean()
  scale = math.sqrt(float(rx @ rx) * float(ry @ ry))
  return float(rx @ ry) / scale if scale else math.nan
