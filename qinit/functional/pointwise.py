"""1x1 convolution for training on a CPU: a product of matrices.

The same arithmetic and speed, but TensorFlow's convolution compiles a kernel
for every new shape and gradient, and in the training of a hypernetwork nearly
all shapes are new. The moments of what comes out need no product over the
pixels but that of the input with itself.
"""

import tensorflow as tf

from qinit.functional.striding import halved
from qinit.graph.ops import Conv


def applies(op: Conv) -> bool:
  """Whether `apply` knows the kernel's size and the strides of `op`."""
  return op.kernel_size == (1, 1) and op.strides in ((1, 1), (2, 2))


def apply(op: Conv, kernel, x, bias=None):
  """What `op.apply` returns of x [B, H, W, C]; sizes may be unknown when
  traced."""
  x = _strided(op, x)
  kernel = tf.squeeze(kernel, [0, 1])
  shape, filters = tf.shape(x), tf.shape(kernel)[1]
  y = tf.matmul(_pixels(x), kernel)
  if bias is not None:  # beside the product, so that both are one kernel
    y = tf.nn.bias_add(y, bias)
  return tf.reshape(y, [*tf.unstack(shape[:3]), filters])


def moments(op: Conv, kernel, x):
  """Mean and biased variance [filters] of `apply(op, kernel, x)` over batch
  and pixels, and their gradients, without that product.

  With mean m and covariance C of the input's channels, filter w has the mean
  w m and the variance w C w: a product there and one back with C [C, C], where
  the convolution has one there and two back with the kernel [C, filters].
  """
  return _product_moments(_strided(op, x), tf.squeeze(kernel, [0, 1]))


def moments_pay(op: Conv, kernel) -> bool:
  """Whether `moments` is faster than those of the convolution's output."""
  _, _, inputs, filters = kernel.shape
  return applies(op) and inputs <= filters


@tf.custom_gradient
def _product_moments(x, kernel):
  """Of x [B, H, W, C] times `kernel` [C, filters]."""
  shape = tf.shape(x)
  # Image by image: a single sum over all pixels loses three bits more.
  center = tf.reduce_mean(tf.reduce_mean(x, [1, 2]), 0)
  x = _pixels(x) - center
  count = tf.cast(tf.shape(x)[0], x.dtype)
  covariance = tf.matmul(x, x, transpose_a=True) / count
  spread = tf.matmul(covariance, kernel)
  mean = tf.linalg.matvec(kernel, center, transpose_a=True)
  # Rounding may leave a variance of 0 below it.
  variance = tf.nn.relu(tf.reduce_sum(kernel * spread, 0))

  def gradient(dmean, dvariance):
    dkernel = center[:, None] * dmean + 2 * spread * dvariance
    dcovariance = tf.matmul(kernel * dvariance, kernel, transpose_b=True)
    dx = tf.matmul(x, (2 / count) * dcovariance)
    # One kernel with the product, as in `apply`; a sum would be a pass more.
    dx = tf.nn.bias_add(dx, tf.linalg.matvec(kernel, dmean) / count)
    return tf.reshape(dx, shape), dkernel

  return (mean, variance), gradient


def _strided(op, x):
  """The pixels of x that the convolution reads."""
  return halved(x) if op.strides[0] == 2 else x


def _pixels(x):
  return tf.reshape(x, [-1, tf.shape(x)[3]])
