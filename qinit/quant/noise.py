"""Quantisation as additive uniform noise: NoiseQuant.

Where rounding is simulated with a straight-through gradient, noise of the same
size has an exact one.
"""

import tensorflow as tf


def noise(x: tf.Tensor, lo, hi, step, seed) -> tf.Tensor:
  """clamp(x, lo, hi) + e with e ~ step / 2 U[-1, 1], shape kept.

  With a constant `step` this is Eq. 5 of Starting Positions Matter. A `step`
  that is trained (Eq. 6) gets the noise itself as its gradient, and through
  `lo` and `hi`, where they are made of it, that of clipping.

  Args:
    seed: two integers; the same seed gives the same noise.
  """
  e = tf.random.stateless_uniform(tf.shape(x), seed, -0.5, 0.5)
  return tf.minimum(tf.maximum(x, lo), hi) + step * e
