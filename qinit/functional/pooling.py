"""Pooling for training on a CPU.

The op table's arithmetic, lowered so that it is fast both ways: TensorFlow's
gradient of max pooling is sixty times slower than the pooling.
"""

import tensorflow as tf

from qinit.functional.striding import halved
from qinit.graph.ops import Pool


def apply(op: Pool, x):
  """What `op.apply` returns of x [B, H, W, C]; sizes may be unknown when
  traced. Of equal values in a window the first gets the gradient."""
  aligned = op.stride == 1 or (op.stride == 2 and op.padding == "symmetric")
  if op.size != 3 or not aligned:
    return op.apply({}, x)
  y = _max_pool(x) if op.kind == "max" else tf.nn.avg_pool2d(x, 3, 1, "SAME")
  return y if op.stride == 1 else halved(y)


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
