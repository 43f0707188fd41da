"""Depthwise convolution for training on a CPU.

The op table's arithmetic, lowered so that it is fast both ways. TensorFlow's
gradient of a kernel of more than three columns is ten times slower than the
convolution, and a dilated kernel spread with zeros costs as much as a dense one
of its size.
"""

import tensorflow as tf

from qinit.functional.striding import halved
from qinit.graph.ops import DepthwiseConv

_FAST_KERNEL = 3  # TensorFlow has special code for so many columns


def apply(op: DepthwiseConv, kernel, x):
  """What `op.apply` returns without a bias, of x [B, H, W, C] with an even
  height and width if dilated; sizes may be unknown when traced."""
  if op.dilation == 1:
    return _convolve(x, kernel, op.strides[0], op.padding)
  if op.dilation > 2 or (op.padding == "same" and op.strides[0] > 1):
    return op.apply({"depthwise_kernel": kernel}, x)
  if op.strides[0] == 2:  # every pixel that is read has even coordinates
    return _convolve(halved(x), kernel, 1, "same")
  phases = _convolve(_to_phases(x), kernel, 1, "same")
  return _from_phases(phases, tf.shape(x))


def _convolve(x, kernel, stride, padding):
  size = kernel.shape[0]
  if stride == 1 and size > _FAST_KERNEL and kernel.shape[1] == size:
    return _with_fast_gradient(x, kernel)
  pads = [0, 0, *[size // 2] * 4, 0, 0]
  explicit = stride > 1 and padding == "symmetric"
  return tf.raw_ops.DepthwiseConv2dNative(
    input=x,
    filter=kernel,
    strides=[1, stride, stride, 1],
    padding="EXPLICIT" if explicit else "SAME",
    explicit_paddings=pads if explicit else [],
  )


@tf.custom_gradient
def _with_fast_gradient(x, kernel):
  same = {"strides": [1, 1, 1, 1], "padding": "SAME"}

  def gradient(dy):
    dx = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
      input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, **same
    )
    return dx, _kernel_gradient(x, dy, kernel.shape[0])

  y = tf.raw_ops.DepthwiseConv2dNative(input=x, filter=kernel, **same)
  return y, gradient


def _kernel_gradient(x, dy, size):
  """sum over b, h, w of x[b, h + i - p, w + j - p, c] dy[b, h, w, c].

  In stripes of three columns j, or less of one where they overlap: for three
  columns oneDNN has fast code, whatever the number of rows.
  """
  last, steps = size - _FAST_KERNEL, (size - 1) // _FAST_KERNEL
  starts = [i * last // steps for i in range(steps + 1)]
  stripes = [
    _stripe(x, dy, size, start)[:, : end - start]
    for start, end in zip(starts, [*starts[1:], size], strict=True)
  ]
  return tf.concat(stripes, 1)


def _stripe(x, dy, size, start):
  """The columns `start` to `start` + 2 of the gradient; padding takes them to
  the middle, where they are those of a kernel of three columns."""
  shift = start + 1 - size // 2
  rows = tf.maximum(0, size - tf.shape(x)[1])  # no special code for fewer
  x, dy = _padded(x, rows, -shift), _padded(dy, rows, shift)
  return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
    input=x,
    filter_sizes=tf.stack([size, _FAST_KERNEL, tf.shape(x)[3], 1]),
    out_backprop=dy,
    strides=[1, 1, 1, 1],
    padding="SAME",
  )


def _padded(x, rows, columns):
  """With so many rows of zeros below and columns on the left, -n for the
  right."""
  sides = [max(columns, 0), max(-columns, 0)]
  return tf.pad(x, [[0, 0], [0, rows], sides, [0, 0]])


def _to_phases(x):
  """The four images of pixels with even and odd coordinates, [4 B, ...]."""
  return tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])


def _from_phases(x, shape):
  y = tf.batch_to_space(x, [2, 2], [[0, 0], [0, 0]])
  y.set_shape([None, None, None, None])
  return tf.reshape(y, shape)
