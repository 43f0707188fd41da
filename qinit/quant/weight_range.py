"""Ranges of kernels, by name: (lo, hi) of a tensor, to which 0 belongs."""

import tensorflow as tf

_PERCENT = 1.0


def absolute(x: tf.Tensor):
  """Minimum and maximum."""
  return tf.reduce_min(x), tf.reduce_max(x)


def percentile(x: tf.Tensor):
  """The values that 1 % lie below and above: the k-th smallest and largest,
  k = 1 + floor(0.01 N), Section 4.5 of Starting Positions Matter."""
  flat = tf.reshape(x, [-1])
  share = tf.cast(tf.size(flat), tf.float32) * (_PERCENT / 100)
  k = 1 + tf.cast(share, tf.int32)
  highest = tf.math.top_k(flat, k, sorted=False).values
  lowest = -tf.math.top_k(-flat, k, sorted=False).values
  return tf.reduce_max(lowest), tf.reduce_min(highest)


# "learned" is where the learned factor of the step begins.
WEIGHT_CLIPS = {
  "absolute": absolute,
  "percentile": percentile,
  "learned": absolute,
}
