import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qinit.stats import tensor
from qinit.stats.moments import Moments, merge, moments
from qinit.stats.streaming import LayerStats


def _quantise(x, lo, hi, bits=8):
  scale = (hi - lo) / (2**bits - 1)
  return lo + np.round((np.clip(x, lo, hi) - lo) / scale) * scale


def _activations():
  rng = np.random.default_rng(1)
  scales = np.array([0.01, 0.3, 1.0, 2.0, 5.0])
  return np.maximum(rng.normal(size=(64, 6, 6, 5)), 0) * scales


def _row(x, percentile, batch):
  lo, hi = np.percentile(x, [percentile, 100 - percentile])
  stats = LayerStats(lo, hi, percentile)
  for start in range(0, len(x), batch):
    part = x[start : start + batch]
    stats.update(part, _quantise(part, lo, hi))
  return stats.result(3, "conv", "activation"), lo, hi


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("percentile", [0, 1, 5])
def test_batches_agree_with_the_whole(batch, percentile):
  x = _activations()
  row, lo, hi = _row(x, percentile, batch)
  q = _quantise(x, lo, hi)
  channels = np.percentile(x, [percentile, 100 - percentile], axis=(0, 1, 2))
  precision = tensor.average_precision(*channels, lo, hi)
  assert (row.layer, row.name, row.kind) == (3, "conv", "activation")
  assert (row.min, row.max, row.range) == (lo, hi, hi - lo)
  assert row.average_precision == pytest.approx(precision, abs=2e-3)
  assert row.kurtosis == pytest.approx(tensor.kurtosis(x))
  assert row.sqnr_db == pytest.approx(tensor.sqnr_db(x, q))
  assert row.clipped_share == tensor.clipped_share(x, lo, hi)
  assert row.qmse == pytest.approx(tensor.quantised_mse(x, q))


def test_percentile_zero_is_exact():
  x = _activations()
  row, _, _ = _row(x, 0, 10)
  assert row.average_precision == pytest.approx(
    tensor.average_channel_precision(x), rel=1e-12
  )


def test_the_pieces_of_a_large_batch_add_up():
  x = np.random.default_rng(2).normal(size=(200_000, 3))
  stats = LayerStats(-2, 2, 1)
  stats.update(x, np.round(x))
  row = stats.result(0, "a", "activation")
  assert row.qmse == pytest.approx(np.mean((x - np.round(x)) ** 2))
  assert stats.distribution().counts.sum() == x.size


def test_distribution_keeps_the_clipped_in_the_end_bins():
  stats = LayerStats(0, 1)
  x = np.array([[-5.0], [0.5], [0.5], [7.0], [8.0]])
  stats.update(x, x)
  counts = stats.distribution().counts
  assert (counts[0], counts[64], counts[-1]) == (1, 2, 2)


def test_a_dead_tensor_has_a_row():
  stats = LayerStats(0, 0, 1)
  stats.update(np.zeros((4, 2)), np.zeros((4, 2)))
  row = stats.result(0, "dead", "activation")
  assert (row.range, row.qmse, row.clipped_share) == (0, 0, 0)
  assert math.isnan(row.average_precision) and math.isnan(row.sqnr_db)


def test_misuse_is_refused():
  with pytest.raises(ValueError, match="no values of 'a'"):
    LayerStats(0, 1).result(0, "a", "weight")
  with pytest.raises(ValueError, match="differ"):
    LayerStats(0, 1).update(np.zeros((2, 3)), np.zeros(3))
  with pytest.raises(ValueError, match="empty range"):
    LayerStats(1, 0)
  with pytest.raises(ValueError, match="percentile 50"):
    LayerStats(0, 1, 50)


@given(
  hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-9, 9)),
  st.integers(0, 30),
)
def test_merged_moments_are_those_of_the_union(values, cut):
  found = merge(moments(values[:cut]), moments(values[cut:]))
  centred = values - values.mean()
  wanted = [np.sum(centred**k) for k in (2, 3, 4)]
  assert found.count == len(values)
  assert found.mean == pytest.approx(values.mean(), abs=1e-9)
  for got, want in zip((found.m2, found.m3, found.m4), wanted, strict=True):
    assert got == pytest.approx(want, abs=1e-6, rel=1e-9)


def test_nothing_is_neutral_for_merge():
  some = moments(np.array([1.0, 2.0, 4.0]))
  assert merge(Moments(), some) == some == merge(some, Moments())


def test_moments_survive_a_large_mean():
  x = np.random.default_rng(0).normal(1e6, 1, 4000)
  halves = merge(moments(x[:2000]), moments(x[2000:]))
  assert halves.kurtosis == pytest.approx(tensor.kurtosis(x), rel=1e-6)
