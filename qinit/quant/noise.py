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
  return tf.minimum(tf.maximum(x, lo), hi) + error(x, step, seed)


def error(x: tf.Tensor, step, seed) -> tf.Tensor:
  """e of `noise`, in the shape of x: 256 values about 0. A random integer gives
  four of them, which takes a third of the time of four random numbers."""
  shape = tf.shape(x)
  count = tf.reduce_prod(shape)
  drawn = tf.random.stateless_uniform(
    [(count + 3) // 4], seed, minval=None, maxval=None, dtype=tf.int32
  )
  levels = tf.reshape(tf.bitcast(drawn, tf.uint8), [-1])[:count]
  return (tf.cast(tf.reshape(levels, shape), tf.float32) - 127.5) * (step / 256)
