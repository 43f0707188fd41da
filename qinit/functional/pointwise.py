"""1x1 convolution for training on a CPU: a product of matrices.

The same arithmetic and speed, but TensorFlow's convolution compiles a kernel
for every new shape and gradient, and in the training of a hypernetwork nearly
all shapes are new.
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
  x = halved(x) if op.strides[0] == 2 else x
  kernel = tf.squeeze(kernel, [0, 1])
  shape, (inputs, filters) = tf.shape(x), tf.unstack(tf.shape(kernel))
  y = tf.matmul(tf.reshape(x, [-1, inputs]), kernel)
  if bias is not None:  # beside the product, so that both are one kernel
    y = tf.nn.bias_add(y, bias)
  return tf.reshape(y, [*tf.unstack(shape[:3]), filters])
