"""Adam as the published hypernetworks were trained with."""

import tensorflow as tf

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_LARGEST_NORM = 5.0


class Adam(tf.Module):
  """Adam with L2 decay that is coupled, added behind the clipping:

      g <- min(1, 5 / (|g| + 1e-6)) g + decay w
      m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
      w <- w - rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + 1e-8)

  |g| is the norm of all gradients together. (PyTorch's Adam after
  `clip_grad_norm_`; Keras' epsilon is 1e-7 and its decay decoupled.)
  """

  def __init__(self, variables, weight_decay: float = 1e-5):
    super().__init__(name="adam")
    self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
    self._of, self._decay = list(variables), weight_decay
    self.m = [tf.Variable(tf.zeros_like(w), trainable=False) for w in self._of]
    self.v = [tf.Variable(tf.zeros_like(w), trainable=False) for w in self._of]
    self._apply = tf.function(self._update, autograph=False)

  def apply(self, gradients, rate: float) -> tf.Tensor:
    """Updates the variables; returns |g| before the clipping."""
    return self._apply(list(gradients), tf.constant(rate, tf.float32))

  def _update(self, gradients, rate):
    norm = tf.linalg.global_norm(gradients)
    factor = tf.minimum(1.0, _LARGEST_NORM / (norm + 1e-6))
    # In float64: 1 - 0.999 has three digits less than its terms.
    steps = tf.cast(self.steps.assign_add(1), tf.float64)
    rate /= tf.cast(1 - _BETA_1**steps, tf.float32)
    root = tf.cast(tf.sqrt(1 - _BETA_2**steps), tf.float32)
    for w, g, m, v in zip(self._of, gradients, self.m, self.v, strict=True):
      g = g * factor + self._decay * w
      m.assign(_BETA_1 * m + (1 - _BETA_1) * g)
      v.assign(_BETA_2 * v + (1 - _BETA_2) * g * g)
      w.assign_sub(rate * m / (tf.sqrt(v) / root + _EPSILON))
    return norm
