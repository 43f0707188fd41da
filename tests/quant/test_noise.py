"""Noise in the place of rounding."""

import numpy as np
import tensorflow as tf

from qinit.quant.noise import noise

_X = np.linspace(-3, 3, 20001, dtype=np.float32)


def test_noise_is_uniform_over_one_step():
  e = noise(_X, -4.0, 4.0, 0.5, [1, 2]).numpy() - _X
  assert -0.25 <= e.min() < -0.249 and 0.249 < e.max() <= 0.25
  # The variance of U(-s/2, s/2) is s^2 / 12; its own deviation is 0.6 %.
  np.testing.assert_allclose(e.var(), 0.25 / 12, rtol=0.02)
  assert abs(e.mean()) < 3 * np.sqrt(0.25 / 12 / len(_X))


def test_noise_takes_256_values_equally_often():
  e = noise(np.zeros([3, 333, 77], np.float32), -1.0, 1.0, 256.0, [1, 2])
  values, counts = np.unique(e, return_counts=True)
  np.testing.assert_array_equal(values, np.arange(256) - 127.5)
  # Poisson counts of about 300: their own deviation is 17.
  assert counts.min() > 300 - 5 * 17.3 and counts.max() < 300 + 5 * 17.3


def test_the_clamp_stays():
  y = noise(_X, -1.0, 2.0, 0.5, [1, 2]).numpy()
  assert y.min() >= -1.25 and y.max() <= 2.25


def test_a_seed_is_a_noise():
  once, again = (noise(_X, -4.0, 4.0, 0.5, [1, 2]) for _ in range(2))
  other = noise(_X, -4.0, 4.0, 0.5, [1, 3])
  np.testing.assert_array_equal(once, again)
  assert np.mean(once == other) < 0.01


def test_gradient_of_a_trained_step():
  # y = clip(x, 0, 3 s) + s e: dy/ds = e inside and 3 + e above (Eq. 6).
  x, step = tf.constant([0.4, 9.0]), tf.Variable(0.5)
  with tf.GradientTape() as tape:
    y = noise(x, 0.0 * step, 3 * step, step, [4, 5])
  e = (y - tf.constant([0.4, 1.5])) / 0.5
  gradient = tape.gradient(y, step)
  np.testing.assert_allclose(gradient, e[0] + e[1] + 3, rtol=1e-5)


def test_gradient_of_values_is_exact_and_stops_outside():
  x = tf.Variable([-5.0, 0.3, 5.0])
  with tf.GradientTape() as tape:
    y = noise(x, -1.0, 1.0, 0.5, [6, 7])
  np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 0])
