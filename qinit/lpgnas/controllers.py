"""The two controllers, and how options are sampled from what they say."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from qinit.quant.affine import straight_through

_HIDDEN = 64


class Controller(tf.Module):
  """Logits for a number of decisions from one vector: a hidden layer of 64
  normalised ReLUs and a linear head per decision, or, with `network=False`,
  free logits.

  The heads start at 0: every option is equally likely.
  """

  def __init__(
    self,
    name: str,
    options: Mapping[str, int],
    inputs: int,
    network: bool,
    seed: int,
  ):
    super().__init__(name=name)
    self.options, self.network = dict(options), network
    total = sum(self.options.values())
    hidden = _HIDDEN if network else 1
    if network:
      draw = np.random.default_rng(seed).normal(0, 1, [inputs, hidden])
      self.first = tf.Variable(np.float32(draw))
    self.heads = tf.Variable(tf.zeros([hidden, total]))

  def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
    hidden = tf.ones([1, 1])
    if self.network:
      hidden = tf.nn.relu(_normalised(x[None] @ self.first))
    logits = tf.squeeze(hidden @ self.heads, 0)
    parts = tf.split(logits, list(self.options.values()))
    return dict(zip(self.options, parts, strict=True))


def _normalised(hidden):
  """Mean 0 and variance 1 over the units [1, H]. The vector is always the same
  and the heads learn alike, so that all units would move together: below 0
  the controller would never learn anything again."""
  mean, variance = tf.nn.moments(hidden, 1, keepdims=True)
  return (hidden - mean) * tf.math.rsqrt(variance + 1e-6)


def sample(logits, tau, noise, seed) -> tf.Tensor:
  """A one-hot [K] going forward, the gradient of a softmax going back.

  p = softmax((logits + noise g) / tau) with g of a Gumbel distribution; the
  entry of the largest p is marked (Jang et al., 2017, straight-through).

  Args:
    seed: [2] int32.
  """
  uniform = tf.random.stateless_uniform(
    tf.shape(logits), seed, 1e-9, 1.0, tf.float32
  )
  gumbel = -tf.math.log(-tf.math.log(uniform))
  soft = tf.nn.softmax((logits + noise * gumbel) / tau)
  hard = tf.one_hot(tf.argmax(soft), tf.size(soft))
  return straight_through(soft, hard)


def probabilities(logits: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """Of every option of every decision."""
  return {name: tf.nn.softmax(x) for name, x in logits.items()}


def entropy(logits: dict[str, tf.Tensor]) -> tf.Tensor:
  """Mean entropy over the decisions, 1 for equally likely options."""
  shares = []
  for value in logits.values():
    if value.shape[0] > 1:
      log_p = tf.nn.log_softmax(value)
      bits = -tf.reduce_sum(tf.exp(log_p) * log_p)
      shares.append(bits / np.log(value.shape[0]))
  return tf.add_n(shares) / len(shares) if shares else tf.constant(0.0)
