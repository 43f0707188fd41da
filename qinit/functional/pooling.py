"""Pooling and striding for training on a CPU.

The op table's arithmetic, lowered so that it is fast both ways: TensorFlow's
gradient of max pooling is sixty times slower than the pooling, its strided
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
  """3x3 at stride 1, zeros not counted."""
  window = {"ksize": [1, 3, 3, 1], "strides": [1, 1, 1, 1], "padding": "SAME"}

  def gradient(dy):
    # Only beside the pooling itself does TensorFlow take oneDNN's gradient.
    y = tf.raw_ops.MaxPool(input=x, **window)
    return tf.raw_ops.MaxPoolGrad(
      orig_input=x, orig_output=y, grad=dy, **window
    )

  return tf.raw_ops.MaxPool(input=x, **window), gradient
