import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qinit.stats import tensor

TWO_CHANNELS = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 30.0]])
FINITE = st.floats(-1e3, 1e3, width=32)


def test_channel_ranges_by_hand():
  lo, hi = tensor.channel_ranges(TWO_CHANNELS)
  assert lo.tolist() == [0, 10] and hi.tolist() == [2, 30]


def test_average_precision_by_hand():
  # Channel ranges 2 and 20 in a tensor range of 30.
  found = tensor.average_channel_precision(TWO_CHANNELS)
  assert found == pytest.approx((2 / 30 + 20 / 30) / 2)


def test_average_precision_counts_only_what_the_quantiser_sees():
  # -5..5 is seen as 0..5, 0..20 as 0..10.
  assert tensor.average_precision([-5, 0], [5, 20], 0, 10) == 0.75


def test_average_precision_of_a_constant_is_unknown():
  assert math.isnan(tensor.average_channel_precision(np.ones((4, 2))))


def test_depthwise_channels_are_all_filters():
  kernel = np.arange(9 * 4 * 2.0).reshape(3, 3, 4, 2)
  channels = tensor.by_channel(kernel, depthwise=True)
  assert channels.shape == (3, 3, 8)
  np.testing.assert_array_equal(channels[:, :, 5], kernel[:, :, 2, 1])
  assert tensor.by_channel(kernel).shape == (3, 3, 4, 2)


def test_uniform_depthwise_kernels_start_with_better_precision():
  # The expected range of 9 draws is 0.8 of the limits' for a uniform one.
  rng = np.random.default_rng(0)
  uniform = rng.uniform(-1, 1, (9, 512))
  normal = rng.normal(size=(9, 512))
  assert tensor.average_channel_precision(uniform) == pytest.approx(
    0.8, abs=0.02
  )
  assert tensor.average_channel_precision(normal) == pytest.approx(
    0.41, abs=0.06
  )


def test_kurtosis_by_hand():
  assert tensor.kurtosis([-1, 1]) == 1
  assert tensor.kurtosis([-2, 0, 0, 0, 0, 0, 0, 2]) == 4
  assert math.isnan(tensor.kurtosis([3, 3]))


def test_kurtosis_of_known_distributions():
  rng = np.random.default_rng(0)
  assert tensor.kurtosis(rng.normal(size=200_000)) == pytest.approx(3, abs=0.05)
  assert tensor.kurtosis(rng.uniform(size=200_000)) == pytest.approx(
    1.8, abs=0.02
  )


def test_sqnr_by_hand():
  # 100 / 1 is 20 dB.
  assert tensor.sqnr_db([6, 8], [6, 7]) == pytest.approx(20)
  assert tensor.sqnr_db([1, 2], [1, 2]) == math.inf
  assert tensor.sqnr_db([0, 0], [0, 1]) == -math.inf
  assert math.isnan(tensor.sqnr_db([0], [0]))


def test_every_bit_is_worth_six_decibels():
  x = np.random.default_rng(0).uniform(0, 1, 100_000)
  sqnr = [
    tensor.sqnr_db(x, np.round(x * (2**bits - 1)) / (2**bits - 1))
    for bits in (4, 8)
  ]
  assert sqnr[1] - sqnr[0] == pytest.approx(20 * math.log10(255 / 15), abs=0.1)


def test_clipped_share_excludes_the_ends():
  assert tensor.clipped_share([0, 1, 2, 3], 1, 2) == 0.5
  assert tensor.clipped_share([1, 2], 1, 2) == 0


def test_quantised_mse_by_hand():
  assert tensor.quantised_mse([1, 2, 3], [1, 4, 2]) == pytest.approx(5 / 3)


@given(
  hnp.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=FINITE
  )
)
def test_average_precision_is_a_share(values):
  found = tensor.average_channel_precision(values)
  assert math.isnan(found) or 0 <= found <= 1
  if values.shape[1] == 1 and not math.isnan(found):
    assert found == 1


@given(
  hnp.arrays(np.float64, 6, elements=st.integers(-50, 50)), st.integers(1, 8)
)
def test_sqnr_does_not_depend_on_the_unit(values, factor):
  coarse = np.round(values / 7) * 7
  one = tensor.sqnr_db(values, coarse)
  other = tensor.sqnr_db(values * factor, coarse * factor)
  np.testing.assert_allclose(one, other)
