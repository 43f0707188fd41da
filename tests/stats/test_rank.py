import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinit.stats import rank


def test_ranks_share_ties():
  assert rank.ranks([10, 30, 20, 20]).tolist() == [0, 3, 1.5, 1.5]


def test_rank_correlation_by_hand():
  # Without ties 1 - 6 sum d^2 / (n (n^2 - 1)); here d^2 sums to 4, n = 4.
  assert rank.rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)
  assert rank.rank_correlation([1, 2, 3], [1, 8, 27]) == 1
  assert rank.rank_correlation([1, 2, 3], [0, -1, -9]) == -1
  assert math.isnan(rank.rank_correlation([1, 1], [1, 2]))
  assert math.isnan(rank.rank_correlation([1], [2]))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2))
def test_any_rising_map_leaves_it_unchanged(pairs):
  x, y = np.transpose(pairs)
  one, other = rank.rank_correlation(x, y), rank.rank_correlation(np.exp(x), y)
  np.testing.assert_allclose(one, other)
