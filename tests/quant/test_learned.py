"""Learned quantisation against values and gradients worked by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from qinit.quant import learned


def gradients(function, *values):
  """What `function` returns, and the gradient of its sum by each value."""
  variables = [tf.Variable(v, dtype=tf.float32) for v in values]
  with tf.GradientTape() as tape:
    y = function(*variables)
    total = tf.reduce_sum(y)
  return y.numpy(), [g.numpy() for g in tape.gradient(total, variables)]


def test_lsq_unsigned_by_hand():
  # s = 0.5, n = 2, Z = 0: codes 0..3.
  # x / s:       -0.4   0.6    2.4    5
  # y:            0     0.5    1.0    1.5
  # dy/dx:        0     1      1      0
  # dy/ds:        0     1-0.6  2-2.4  3
  x = [-0.2, 0.3, 1.2, 2.5]
  y, (dx, ds) = gradients(lambda x, s: learned.lsq(x, s, 0.0, 2), x, 0.5)
  np.testing.assert_allclose(y, [0, 0.5, 1.0, 1.5])
  np.testing.assert_allclose(dx, [0, 1, 1, 0])
  assert ds == pytest.approx(0 + 0.4 - 0.4 + 3, abs=1e-6)


def test_lsq_signed_by_hand():
  # s = 0.5, n = 2, Z = 2: x / s clipped to -2..1.
  # x / s:       -6    -1.2    0.4   3
  # y:           -1    -0.5    0     0.5
  # dy/ds:       -2    -1+1.2  -0.4  1
  x = [-3.0, -0.6, 0.2, 1.5]
  y, (dx, ds) = gradients(lambda x, s: learned.lsq(x, s, 2.0, 2), x, 0.5)
  np.testing.assert_allclose(y, [-1, -0.5, 0, 0.5])
  np.testing.assert_allclose(dx, [0, 1, 1, 0])
  assert ds == pytest.approx(-2 + 0.2 - 0.4 + 1, abs=1e-6)


def test_lsq_per_channel_steps_keep_apart():
  x = np.array([[0.3, 3.0], [0.6, 9.0]], np.float32)
  steps = [[0.5, 2.0]]
  _, (_, ds) = gradients(lambda x, s: learned.lsq(x, s, 0.0, 2), x, steps)
  # Column 0: 1 - 0.6, 1 - 1.2; column 1: 2 - 1.5, and 3 above the range.
  np.testing.assert_allclose(ds, [[0.4 - 0.2, 0.5 + 3]], atol=1e-6)


def test_lsq_constants_of_the_paper():
  # g = 1 / sqrt(N Q_P); Q_P = 7 for signed 4-bit weights, 15 for activations.
  assert learned.lsq_gradient_scale(100, 8, 4) == 1 / math.sqrt(700)
  assert learned.lsq_gradient_scale(100, 0, 4) == 1 / math.sqrt(1500)
  assert learned.lsq_initial_step(0.7, 8, 4) == 2 * 0.7 / math.sqrt(7)


def test_scaled_gradient_changes_the_gradient_alone():
  y, (g,) = gradients(lambda x: learned.scaled_gradient(x, 0.01), [3.0])
  assert y == pytest.approx(3) and g == pytest.approx(0.01)


def test_tqt_by_hand():
  # log2 t = 0.3: 2^ceil = 2; signed with n = 3: s = 2 / 4 = 0.5, Z = 4.
  # x / s:        -9     -1.4    0.6    8
  # y:            -2     -0.5    0.5    1.5
  # dy/dlog2 t = s ln2 * (-4, 0.4, 0.4, 3)
  x = [-4.5, -0.7, 0.3, 4.0]
  y, (dx, dt) = gradients(
    lambda x, t: learned.lsq(x, learned.tqt_step(t, True, 3), 4.0, 3), x, 0.3
  )
  np.testing.assert_allclose(y, [-2, -0.5, 0.5, 1.5], atol=1e-6)
  np.testing.assert_allclose(dx, [0, 1, 1, 0])
  wanted = 0.5 * math.log(2) * (-4 + 0.4 + 0.4 + 3)
  assert dt == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
  "log2, signed, wanted",
  [
    (0.0, True, 1 / 8),
    (0.1, True, 2 / 8),
    (-1.5, True, 0.5 / 8),
    (2.0, False, 4 / 16),
  ],
)
def test_tqt_steps_are_powers_of_two(log2, signed, wanted):
  step = learned.tqt_step(tf.constant(log2), signed, 4)
  assert float(step) == pytest.approx(wanted, rel=1e-6)


def test_pact_by_hand():
  # alpha = 1.5, n = 2: s = 0.5; d/dalpha is 1 above the range, 0 inside.
  x = [-1.0, 0.2, 0.6, 1.4, 1.6, 7.0]
  y, (dx, _, da) = gradients(
    lambda x, lo, hi: learned.pact(x, lo, hi, 2), x, 0.0, 1.5
  )
  np.testing.assert_allclose(y, [0, 0, 0.5, 1.5, 1.5, 1.5], atol=1e-6)
  np.testing.assert_allclose(dx, [0, 1, 1, 1, 0, 0])
  assert da == 2


def test_pact_trains_both_ends_of_a_signed_range():
  x = [-5.0, -3.0, 0.0, 4.0]
  _, (dx, dlo, dhi) = gradients(
    lambda x, lo, hi: learned.pact(x, lo, hi, 2), x, -1.0, 2.0
  )
  np.testing.assert_allclose(dx, [0, 0, 1, 0])
  assert (dlo, dhi) == (2, 1)
