"""How a hypernetwork stores what it computes: in float, or on a grid."""

import tensorflow as tf

from qinit.quant.affine import straight_through


def untouched(name: str, x: tf.Tensor) -> tf.Tensor:
  """The tap that only lets `x` pass."""
  return x


def round_to_one_of(x: tf.Tensor, grids: tf.Tensor) -> tf.Tensor:
  """`x` on the grid that is chosen:

      y = sum_k c_k q_k(x),   q_k(x) = s_k clip(round(x / s_k), -n_k, n_k - 1)

  An ordinary expression of all grids, so it may stand in a compiled loop. Its
  gradient is straight through inside the range, and <dL/dy, q_k(x)> for c_k.

  Args:
    grids: [3, K]: one-hot c, steps s, and n, half the number of codes.
  """
  columns = [tf.unstack(row) for row in tf.unstack(grids)]
  return tf.add_n(
    [c * _rounded(x, s, n) for c, s, n in zip(*columns, strict=True)]
  )


def _rounded(x, step, half):
  clipped = tf.clip_by_value(x, -half * step, (half - 1) * step)
  return straight_through(clipped, tf.round(clipped / step) * step)
