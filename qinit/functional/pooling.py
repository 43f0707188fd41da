"""Pooling and striding for training on a CPU.

The op table's arithmetic, lowered so that it is fast both ways: TensorFlow's
gradient of max pooling is seventy times slower than the pooling, its strided
slices eight times slower than plain ones.
"""

import tensorflow as tf

from qinit.graph.ops import Pool, Slice


def apply(op: Pool, x):
  """What `op.apply` returns of x [B, H, W, C]; sizes may be unknown when
  traced. Of equal values in a window the first gets the gradient."""
  aligned = op.stride == 1 or (op.stride == 2 and op.padding == "symmetric")
  if op.size != 3 or not aligned:
    return op.apply({}, x)
  y = _max_pool(x) if op.kind == "max" else tf.nn.avg_pool2d(x, 3, 1, "SAME")
  return y if op.stride == 1 else halved(y)


def sliced(op: Slice, x):
  """What `op.apply` returns of x [B, H, W, C]."""
  if op.offset:  # the gradient of a slice is faster than x[:, 1:, 1:]'s
    x = tf.slice(x, [0, op.offset, op.offset, 0], [-1, -1, -1, -1])
  if op.stride > 2:
    return x[:, :: op.stride, :: op.stride]
  return halved(x) if op.stride == 2 else x


def halved(x):
  """x[:, ::2, ::2] of [B, H, W, C]."""
  batch, height, width, channels = tf.unstack(tf.shape(x))
  x = tf.pad(x, [[0, 0], [0, height % 2], [0, width % 2], [0, 0]])
  rows, columns = (height + 1) // 2, (width + 1) // 2
  x = tf.reshape(x, [batch * rows, 2, columns, 2 * channels])
  x = tf.slice(x, [0, 0, 0, 0], [batch * rows, 1, columns, channels])
  return tf.reshape(x, [batch, rows, columns, channels])


@tf.custom_gradient
def _max_pool(x):
  """3x3 at stride 1, zeros not counted: the maximum over rows of that over
  columns, and the gradient the same way back."""

  def gradient(dy):
    row = tf.nn.max_pool2d(x, (1, 3), 1, "SAME")
    return _routed(_routed(dy, y, row, 1), row, x, 2)

  y = tf.nn.max_pool2d(x, 3, 1, "SAME")
  return y, gradient


def _routed(dy, y, x, axis):
  """The gradient of y, the maximum of three neighbours of x along `axis`."""
  zeros = tf.zeros_like(dy)
  before = tf.where(_moved(x, axis, 1, x.dtype.min) >= y, dy, zeros)
  rest = dy - before
  here = tf.where(x >= y, rest, zeros)
  return _moved(before, axis, -1, 0) + here + _moved(rest - here, axis, 1, 0)


def _moved(x, axis, by, fill):
  """x moved by one place along `axis`, `fill` at the end that is left."""
  paddings = [[0, 0]] * 4
  paddings[axis] = [1, 0] if by > 0 else [0, 1]
  begin = [0] * 4
  begin[axis] = 0 if by > 0 else 1
  padded = tf.pad(x, paddings, constant_values=tf.cast(fill, x.dtype))
  return tf.slice(padded, begin, tf.shape(x))
