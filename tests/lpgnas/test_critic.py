"""The linear model of what operations are worth."""

import math

import numpy as np
import pytest
import tensorflow as tf

from qinit.lpgnas.critic import Critic

OPTIONS = {"attention": 3, "heads": 2}
WORTH = np.array([0.3, -0.1, -0.2, 0.05, -0.05])
PRIOR = np.diag([1.0, *[0.1] * 5])
NOISE = 0.1


def networks(count, seed=0):
  """One-hots of random networks, and the rows [1, one-hots] of the model."""
  rng = np.random.default_rng(seed)
  chosen = [rng.integers(k, size=count) for k in OPTIONS.values()]
  marks = [
    np.eye(k, dtype=np.float32)[c]
    for k, c in zip(OPTIONS.values(), chosen, strict=True)
  ]
  ones = np.ones([count, 1], np.float32)
  decisions = [
    dict(zip(OPTIONS, map(tf.constant, row), strict=True))
    for row in zip(*marks, strict=True)
  ]
  return decisions, np.concatenate([ones, *marks], 1).astype(np.float64)


def taught(critic, decisions, losses):
  for one_hots, loss in zip(decisions, losses, strict=True):
    critic.learn(one_hots, tf.constant(loss, tf.float32))
  return critic


def test_without_drift_it_is_ridge_regression():
  """The posterior mean of Bayes, in closed form."""
  decisions, x = networks(40)
  losses = np.random.default_rng(1).normal(1, 0.5, 40)
  critic = Critic(OPTIONS, math.inf)
  critic.drift = tf.zeros([6])
  taught(critic, decisions, losses)
  precision = x.T @ x / NOISE + np.linalg.inv(PRIOR)
  expected = np.linalg.solve(precision, x.T @ losses / NOISE)
  np.testing.assert_allclose(critic.state.numpy(), expected, atol=1e-4)
  np.testing.assert_allclose(
    critic.covariance.numpy(), np.linalg.inv(precision), atol=1e-4
  )


def test_it_learns_what_each_option_adds():
  decisions, x = networks(300)
  critic = taught(Critic(OPTIONS, 9.0), decisions, 1 + x[:, 1:] @ WORTH)
  found = critic.worth()
  for name, expected in zip(OPTIONS, (WORTH[:3], WORTH[3:]), strict=True):
    centred = found[name] - tf.reduce_mean(found[name])
    np.testing.assert_allclose(centred, expected - expected.mean(), atol=0.01)


def test_it_follows_weights_that_are_trained():
  """The mean falls by one and the best option changes."""
  decisions, x = networks(600)
  before = 2 + x[:300, 1:] @ WORTH
  after = 1 + x[300:, 1:] @ np.array([-0.2, -0.1, 0.3, 0.05, -0.05])
  critic = taught(
    Critic(OPTIONS, 9.0), decisions, np.concatenate([before, after])
  )
  assert int(tf.argmin(critic.worth()["attention"])) == 0
  p = {name: tf.fill([k], 1 / k) for name, k in OPTIONS.items()}
  mean = float(critic.state[0] + critic.expected(p))
  assert mean == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("loss", [50.0, math.inf, math.nan])
def test_a_network_worse_than_chance_counts_as_one_at_chance(loss):
  decisions, _ = networks(1)
  found, expected = (
    taught(Critic(OPTIONS, 1.5), decisions, [value]).state.numpy()
    for value in (loss, 1.5)
  )
  np.testing.assert_array_equal(found, expected)


def test_each_option_has_a_gradient():
  """d/dz_k sum_j softmax(z)_j q_j = p_k (q_k - sum_j p_j q_j)."""
  critic = Critic(OPTIONS, 9.0)
  critic.state.assign([1.0, *WORTH])
  z = {"attention": tf.constant([0.5, 0.0, -1.0]), "heads": tf.zeros([2])}
  with tf.GradientTape() as tape:
    tape.watch(z)
    expected = critic.expected(
      {name: tf.nn.softmax(x) for name, x in z.items()}
    )
  p, q = tf.nn.softmax(z["attention"]).numpy(), WORTH[:3]
  np.testing.assert_allclose(
    tape.gradient(expected, z)["attention"], p * (q - p @ q), atol=1e-6
  )
