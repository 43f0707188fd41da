"""What the operations of an architecture are worth: a linear model of the
loss, learnt from the networks that a search samples."""

from collections.abc import Mapping

import tensorflow as tf

# Variances in nats squared: of an option's worth and of the mean loss before
# anything is known, of a loss around the model, and of what training adds to
# both of the first two from one network to the next.
_WORTH, _MEAN, _NOISE = 0.1, 1.0, 0.1
_DRIFT = 1e-3


class Critic(tf.Module):
  """The linear model

      L(a) ~ b + sum_d q_d[a_d]

  of the loss of a network that takes option a_d in decision d, learnt online
  by a Kalman filter whose state (b, q) drifts while the weights are trained.

  A loss says nothing of the options that were not taken, and <dL/dy, y>, what
  scaling the output of one that was taken would do, nothing of the others
  either. The model shares what one network costs among all of its options, and
  sum_d <p_d, q_d>, its mean under the controller's probabilities, has a
  gradient for each.

  Args:
    options: how many each decision has.
    ceiling: losses above it, of networks worse than chance, count as this.
  """

  def __init__(self, options: Mapping[str, int], ceiling: float):
    super().__init__(name="critic")
    self.options, self.ceiling = dict(options), ceiling
    size = sum(self.options.values())
    variance = tf.constant([_MEAN] + [_WORTH] * size)
    self.state = tf.Variable(tf.zeros([1 + size]), trainable=False)
    self.covariance = tf.Variable(tf.linalg.diag(variance), trainable=False)
    self.drift = _DRIFT * variance

  def learn(self, decisions: Mapping[str, tf.Tensor], loss: tf.Tensor) -> None:
    """Takes the loss of the network with these one-hots [K] into account."""
    loss = tf.where(loss < self.ceiling, loss, self.ceiling)  # NaN too
    x = tf.concat([[1.0], *(decisions[name] for name in self.options)], 0)
    spread = tf.linalg.matvec(self.covariance, x)
    gain = spread / (tf.tensordot(x, spread, 1) + _NOISE)
    error = loss - tf.tensordot(x, self.state, 1)
    self.state.assign_add(gain * error)
    self.covariance.assign_add(
      tf.linalg.diag(self.drift) - gain[:, None] * spread
    )

  def worth(self) -> dict[str, tf.Tensor]:
    """q_d [K] of each decision: what its options add to the loss, in nats."""
    parts = tf.split(self.state[1:], list(self.options.values()))
    return dict(zip(self.options, parts, strict=True))

  def expected(self, probabilities: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """sum_d <p_d, q_d>."""
    return tf.add_n(
      [tf.tensordot(probabilities[d], q, 1) for d, q in self.worth().items()]
    )
