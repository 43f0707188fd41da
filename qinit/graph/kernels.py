"""The TensorFlow arithmetic behind the op table.

Only what TensorFlow gets wrong or lacks is here: symmetric padding at stride
2 (TF's SAME pads asymmetrically), dilated convolution (TF's depthwise forward
is wrong with a stride, its gradients are wrong or missing on a CPU) and
strided pooling aligned as in PyTorch.
"""

import tensorflow as tf


def conv2d(x, kernel, strides, dilation, padding):
  """Convolution of `x` [B, H, W, C] with `kernel` [kh, kw, C, O]."""
  if dilation > 1:
    kernel = dilate_kernel(kernel, dilation)
  pad = _padding(kernel.shape[:2], strides, padding)
  return tf.nn.conv2d(x, kernel, strides, pad)


def depthwise_conv2d(x, kernel, strides, dilation, padding):
  """Depthwise convolution of `x` [B, H, W, C], `kernel` [kh, kw, C, 1]."""
  if dilation > 1:
    kernel = dilate_kernel(kernel, dilation)
  pad = _padding(kernel.shape[:2], strides, padding)
  if not isinstance(pad, str):
    # Not by the op: followed by a bias, Grappler fuses the two, drops the
    # amounts and ends the process.
    x, pad = tf.pad(x, pad), "VALID"
  return tf.raw_ops.DepthwiseConv2dNative(
    input=x, filter=kernel, strides=[1, *_square(strides), 1], padding=pad
  )


def dilate_kernel(kernel, dilation):
  """Writes `dilation - 1` zeros between the taps of a kernel [k, k, C, M].

  On a CPU the native dilated depthwise op has a silently wrong gradient, the
  native dilated convolution none at all (without oneDNN, or padded explicitly).
  """
  kh, kw, c, m = kernel.shape
  taps = tf.reshape(kernel, [kh, 1, kw, 1, c, m])
  gap = [0, dilation - 1]
  spread = tf.pad(taps, [[0, 0], gap, [0, 0], gap, [0, 0], [0, 0]])
  spread = tf.reshape(spread, [kh * dilation, kw * dilation, c, m])
  return spread[: (kh - 1) * dilation + 1, : (kw - 1) * dilation + 1]


def pool2d(x, kind, size, stride, padding):
  """Max or average pooling; averages count only the pixels inside.

  Symmetric padding at a stride is a stride-1 SAME pool and a slice: exact for
  negative inputs too, and the form that TFLite can express.
  """
  pool = tf.nn.max_pool2d if kind == "max" else tf.nn.avg_pool2d
  if padding == "same" or stride == 1:
    return pool(x, size, stride, "SAME")
  return pool(x, size, 1, "SAME")[:, ::stride, ::stride]


def batch_norm(x, gamma, beta, mean=None, variance=None, epsilon=1e-3):
  """gamma (x - mean) / sqrt(variance + epsilon) + beta.

  Without `mean` the statistics are those of the batch (biased variance).
  """
  if mean is None and len(x.shape) != 4:  # the fused op takes images only
    mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
  if mean is None:
    return tf.compat.v1.nn.fused_batch_norm(
      x, gamma, beta, epsilon=epsilon, is_training=True
    )[0]
  return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)


def _padding(kernel_size, strides, padding):
  if padding == "same" or tuple(strides) == (1, 1):
    return "SAME"
  pads = [k // 2 for k in kernel_size]
  return [[0, 0], [pads[0]] * 2, [pads[1]] * 2, [0, 0]]


def _square(strides):
  if strides[0] != strides[1]:
    raise ValueError("depthwise convolutions need equal strides")
  return strides
