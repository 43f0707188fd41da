"""Oscillating weights: counted, damped, frozen."""

import dataclasses

import numpy as np
import tensorflow as tf

from qinit.quant import oscillation
from qinit.quant.oscillation import State, damping, follow, rate


def fresh(code):
  code = tf.constant(code, tf.float32)
  zeros = tf.zeros_like(code)
  return State(code, zeros, zeros, code, zeros)


def run(codes, **kwargs):
  """The state after a sequence of codes, the first one its start."""
  state = fresh(codes[0])
  for code in codes[1:]:
    state = follow(state, tf.constant(code, tf.float32), **kwargs)
  return state


def test_only_a_change_of_direction_counts():
  # Weight 0 rises, 1 stays, 2 turns in steps 2 and 3, 3 waits, then turns.
  codes = [[0, 5, 2, 2], [1, 5, 3, 3], [2, 5, 2, 3], [3, 5, 3, 2]]
  state = run(codes, momentum=0.5)
  # Turns after one step of rest: f = 0, then m = 1/2, then 1/2 + 1/4.
  np.testing.assert_allclose(state.frequency, [0, 0, 0.75, 0.5])


def test_frozen_weights_keep_the_rounded_mean():
  # From 2: 3, 2, 3 with momentum 1/2 the mean is 2.5, 2.25, 2.625.
  state = run([[2], [3], [2], [3]], momentum=0.5, freeze_above=0.6)
  assert state.frozen.numpy() == [1] and state.code.numpy() == [3]
  later = follow(state, tf.constant([9.0]), momentum=0.5, freeze_above=0.6)
  assert later.code.numpy() == [3] and later.frozen.numpy() == [1]


def test_nothing_freezes_unasked():
  state = run([[2], [3], [2], [3], [2]], momentum=0.5)
  assert state.frozen.numpy() == [0]


def test_damping_by_hand():
  # Bins at 0, 0.5 and 1: (0.5 - 0.4)^2 + (1 - 1)^2, the last one clipped.
  w = tf.Variable([0.4, 1.7])
  with tf.GradientTape() as tape:
    loss = damping(w, tf.constant([0.5, 1.0]), -0.5, 1.0)
  np.testing.assert_allclose(loss, 0.01, rtol=1e-5)
  np.testing.assert_allclose(tape.gradient(loss, w), [-0.2, 0], rtol=1e-5)


def test_rate_is_the_share_above_the_papers_threshold():
  assert oscillation.OSCILLATING == 0.005
  assert rate(np.float32([0, 0.004, 0.006, 0.5])) == 50
  assert dataclasses.fields(State)[0].name == "code"
