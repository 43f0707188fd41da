"""Formats against integers worked out by hand and by NumPy alone."""

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from qinit.errors import QuantError
from qinit.lpgnas.formats import parse
from qinit.lpgnas.quantise import (
  exponent_above,
  quantise,
  quantise_one_of,
  split,
)

NAMES = ("fix2.2", "fix4.4", "fix1.7", "scaled4", "ternary", "binary")


def codes_of(x, name):
  codes, f = split(tf.constant(x, tf.float32), parse(name))
  return codes.numpy().tolist(), int(f)


def oracle(x, bits, f):
  """Integer arithmetic on x given in units of 2^-20: divide, ties to even."""
  units = np.round(np.float64(x) * 2**20).astype(np.int64) << max(f - 20, 0)
  step = 1 << max(20 - f, 0)
  quotient, rest = np.divmod(units, step)
  up = (2 * rest > step) | ((2 * rest == step) & (quotient % 2 == 1))
  return np.clip(quotient + up, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def test_fix_2_2_by_hand():
  # Steps of 0.25 from -2 to 1.75; ties to even; both ends clip.
  x = [-9.0, -2.0, -0.375, -0.125, 0.0, 0.125, 0.375, 0.6, 1.75, 1.9, 9.0]
  assert codes_of(x, "fix2.2") == ([-8, -8, -2, 0, 0, 0, 2, 2, 7, 7, 7], 2)


def test_scaled_follows_the_largest_value():
  # max < 1, so e = 0 and the step of 4 bits is 1/8.
  assert codes_of([0.9, -0.5, 0.06, 0.07], "scaled4") == ([7, -4, 0, 1], 3)
  # 1 itself needs the next exponent, and then is exact.
  assert codes_of([1.0, 0.0], "scaled4") == ([4, 0], 2)
  assert codes_of([0.0390625, 0.0], "scaled4") == ([5, 0], 7)


def test_ternary_and_binary_by_hand():
  # mean 0.5, threshold 0.35; mean above it 0.9, next power of two 1.
  x = [1.0, -0.8, 0.1, -0.1]
  assert codes_of(x, "ternary") == ([1, -1, 0, 0], 0)
  # mean 0.5 is a power of two; 0 counts as positive.
  assert codes_of([1.0, -0.5, 0.5, 0.0], "binary") == ([1, -1, 1, 1], 1)


@pytest.mark.parametrize("name", ["fix1.3", "fix4.4", "fix4.12", "fix8.8"])
@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(-(2**23), 2**23), min_size=1, max_size=20))
def test_fixed_point_is_integer_arithmetic(name, values):
  x, fmt = np.array(values) / 2**16, parse(name)
  expected = oracle(x, fmt.bits, fmt.frac)
  codes, f = split(tf.constant(x, tf.float32), fmt)
  np.testing.assert_array_equal(codes, expected)
  assert int(f) == fmt.frac
  y = quantise(tf.constant(x, tf.float32), fmt)
  np.testing.assert_array_equal(y, np.ldexp(expected, -fmt.frac))


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=20))
def test_scaled_is_integer_arithmetic(bits, values):
  if not any(values):
    return
  e = max(abs(v) for v in values).bit_length() - 20  # |x| < 2^e
  f = bits - 1 - e
  x = np.array(values) / 2**20
  codes, found = split(tf.constant(x, tf.float32), parse(f"scaled{bits}"))
  assert int(found) == f
  np.testing.assert_array_equal(codes, oracle(x, bits, f))


def next_power(total, count):
  """f with 2^-f next to total / count in the logarithm, by integers alone."""
  total, count = Fraction(total), Fraction(count)
  e = next(e for e in range(-50, 50) if total < count * Fraction(2) ** e)
  return 1 - e if 2 * total**2 < count**2 * Fraction(4) ** e else -e


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(-(2**12), 2**12), min_size=1, max_size=20))
def test_two_and_three_levels_are_integer_arithmetic(values):
  size, count = [abs(v) for v in values], len(values)
  if not any(values):
    return
  x = tf.constant(np.array(values) / 2**12, tf.float32)
  codes, f = split(x, parse("binary"))
  assert codes.numpy().tolist() == [1 if v >= 0 else -1 for v in values]
  assert int(f) == next_power(sum(size), count << 12)
  edge = [10 * count * s - 7 * sum(size) for s in size]
  if 0 in edge:  # which 0.7, rounded, may miss
    return
  codes, f = split(x, parse("ternary"))
  above = [e > 0 for e in edge]
  marked = [np.sign(v) * a for v, a in zip(values, above, strict=True)]
  assert codes.numpy().tolist() == marked
  total = sum(s for s, a in zip(size, above, strict=True) if a)
  assert int(f) == next_power(total, sum(above) << 12)


def test_exponents_are_exact_at_powers_of_two():
  x = [2.0**-30, 0.5, np.nextafter(np.float32(1), np.float32(0)), 1.0, 1e6]
  assert exponent_above(tf.constant(x)).numpy().tolist() == [-29, 0, 0, 1, 20]


@pytest.mark.parametrize(
  "name, expected",
  [
    ("fix2.2", [0, 1, 1, 1, 0]),  # range -2 .. 1.75
    ("binary", [0, 1, 1, 0, 0]),  # |x| <= 1
    ("ternary", [1, 1, 1, 1, 1]),
    ("scaled4", [1, 1, 1, 1, 1]),
  ],
)
def test_gradient_masks(name, expected):
  x = tf.constant([-2.1, -1.0, 0.3, 1.75, 1.8])
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = tf.reduce_sum(quantise(x, parse(name)))
  assert tape.gradient(y, x).numpy().tolist() == expected


@pytest.mark.parametrize("taken", range(len(NAMES)))
def test_one_of_is_the_one(taken, rng):
  formats = tuple(parse(name) for name in NAMES)
  x = tf.constant(rng.normal(size=[7, 5]), tf.float32)
  one_hot, weight = tf.one_hot(taken, len(NAMES)), rng.normal(size=[7, 5])
  with tf.GradientTape() as tape:
    tape.watch([x, one_hot])
    y = quantise_one_of(x, formats, one_hot)
    loss = tf.reduce_sum(y * weight.astype(np.float32))
  np.testing.assert_array_equal(y, quantise(x, formats[taken]))
  to_x, to_options = tape.gradient(loss, [x, one_hot])
  with tf.GradientTape() as tape:
    tape.watch(x)
    loss = tf.reduce_sum(quantise(x, formats[taken]) * np.float32(weight))
  np.testing.assert_array_equal(to_x, tape.gradient(loss, x))
  each = [np.sum(weight * quantise(x, fmt).numpy()) for fmt in formats]
  np.testing.assert_allclose(to_options, each, rtol=1e-5, atol=1e-5)


def test_names_round_trip():
  for name in NAMES:
    assert parse(name).name == name
  assert parse("fix4.12").bits == 16


@pytest.mark.parametrize(
  "name",
  ["fix0.4", "fix00.4", "fix4", "scaled1", "scaled17", "int8", "fix9.9", ""],
)
def test_unknown_formats_are_named(name):
  with pytest.raises(QuantError, match="is no format"):
    parse(name)
