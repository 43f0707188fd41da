import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from qinit.quant.affine import Affine, fake_quant, round_half_up

BOUNDS = st.floats(-1e4, 1e4, width=32)
BITS = st.integers(2, 8)


@st.composite
def ranges(draw):
  lo, hi = sorted((draw(BOUNDS), draw(BOUNDS)))
  lo, hi = min(lo, 0.0), max(hi, 0.0)
  return (lo, hi) if hi - lo > 1e-3 else (lo, hi + 1.0)


@settings(max_examples=200, deadline=None)
@given(ranges(), BITS, st.integers(0, 2**32 - 1))
def test_agrees_with_tensorflow_given_the_nudged_range(bounds, bits, seed):
  affine = Affine.from_range(*bounds, bits)
  lo, hi = affine.range
  width = hi - lo
  x = (
    np.random.default_rng(seed)
    .uniform(lo - width / 4, hi + width / 4, 500)
    .astype(np.float32)
  )
  wanted = tf.quantization.fake_quant_with_min_max_vars(x, lo, hi, bits)
  steps = x.astype(np.float64) / affine.scale
  tie = np.abs(steps - np.floor(steps) - 0.5) < 1e-4
  wanted_codes = np.rint(np.float64(wanted) / affine.scale) + affine.zero_point
  codes = affine.quantize(x)
  np.testing.assert_array_equal(codes[~tie], wanted_codes[~tie])
  # TensorFlow derives its scale from the ends, which float32 has rounded.
  scale = np.float32(width / np.float32(affine.levels))
  assert abs(scale - affine.scale) <= 2 * np.spacing(affine.scale)
  # So values differ by as much, twice where the exponent is lower, and by
  # the rounding of both products.
  np.testing.assert_array_max_ulp(
    affine.dequantize(codes)[~tie], wanted.numpy()[~tie], maxulp=5
  )
  theirs = Affine(scale, affine.zero_point, bits).dequantize(codes)
  np.testing.assert_array_max_ulp(theirs[~tie], wanted.numpy()[~tie], maxulp=1)
  np.testing.assert_array_equal(
    fake_quant(tf.constant(x), affine).numpy()[~tie],
    affine.dequantize(codes)[~tie],
  )


@settings(max_examples=200, deadline=None)
@given(ranges(), BITS)
def test_zero_is_exact_and_the_ends_stay_inside_the_codes(bounds, bits):
  affine = Affine.from_range(*bounds, bits)
  assert affine.dequantize(affine.quantize(0.0)) == 0
  assert 0 <= affine.zero_point <= affine.levels
  lo, hi = affine.quantize(bounds)
  assert lo in (0, 1)
  assert hi in (affine.levels - 1, affine.levels)


@settings(max_examples=100, deadline=None)
@given(ranges(), BITS)
def test_tensors_and_arrays_give_the_same_quantisation(bounds, bits):
  ours = Affine.from_range(*bounds, bits)
  tensors = Affine.of_tensor(tf.constant(bounds, tf.float32), bits)
  assert tensors.scale.numpy() == ours.scale
  assert tensors.zero_point.numpy() == ours.zero_point


def test_eight_bits_by_hand():
  affine = Affine.from_range(-0.5, 2.05, 8)  # s = 0.01
  assert affine.scale == pytest.approx(0.01, rel=1e-6)
  assert affine.zero_point == 50
  assert list(affine.quantize([-9, -0.5, 0, 0.012, 2.05, 9])) == [
    0, 0, 50, 51, 255, 255
  ]  # fmt: skip


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_symmetric_range_does_not_overflow(bits):
  affine = Affine.from_range(-1, 1, bits)
  assert affine.zero_point == 2 ** (bits - 1)  # the tie rounds up
  assert affine.quantize(1.0) == affine.levels


@pytest.mark.parametrize("bounds", [(0.5, 2.0), (-2.0, -0.5)])
def test_a_range_beside_zero_is_widened_to_hold_it(bounds):
  affine = Affine.from_range(*bounds, 8)
  assert affine.range == pytest.approx((min(bounds[0], 0), max(bounds[1], 0)))


def test_a_range_without_width_holds_zero():
  affine = Affine.from_range(0, 0, 8)
  assert (affine.zero_point, affine.quantize(0.0)) == (0, 0)
  assert affine.scale > 0


def test_ties_round_up():
  x = np.array([-1.5, -0.5, 0.5, 1.5, 2.5])
  assert list(round_half_up(x)) == [-1, 0, 1, 2, 3]
  assert list(round_half_up(tf.constant(x)).numpy()) == [-1, 0, 1, 2, 3]


@pytest.mark.parametrize(
  ("clipped", "wanted"), [(False, [1, 1, 1, 1, 1]), (True, [0, 1, 1, 1, 0])]
)
def test_the_gradient_goes_straight_through(clipped, wanted):
  affine = Affine.from_range(-1, 1, 4)
  lo, hi = affine.range
  x = tf.constant([lo - 0.01, lo, 0.3, hi, hi + 0.01])
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = fake_quant(x, affine, clipped)
  assert list(tape.gradient(y, x).numpy()) == wanted


def test_no_gradient_reaches_the_extremes_through_their_range():
  x = tf.constant([-1.0, 0.2, 1.0])
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = fake_quant(x, Affine.of_tensor(x, 4)) * tf.constant([1.0, 2.0, 3.0])
  assert list(tape.gradient(y, x).numpy()) == [1, 2, 3]
