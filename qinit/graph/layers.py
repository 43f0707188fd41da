"""Keras layers for the ops that Keras computes differently from the table."""

import tensorflow as tf
import tf_keras

from qinit.graph import kernels

_PACKAGE = "qinit"


@tf_keras.utils.register_keras_serializable(_PACKAGE)
class ExactConv2D(tf_keras.layers.Conv2D):
  """Conv2D for symmetric padding and for dilation (`taps`) at any stride."""

  def __init__(self, *args, table_padding="symmetric", taps=1, **kwargs):
    super().__init__(*args, **kwargs)
    self.table_padding = table_padding
    self.taps = taps

  def convolution_op(self, inputs, kernel):
    return kernels.conv2d(
      inputs, kernel, self.strides, self.taps, self.table_padding
    )

  def compute_output_shape(self, input_shape):
    sizes = zip(input_shape[1:3], self.strides, strict=True)
    size = [-(-n // stride) for n, stride in sizes]
    return tf.TensorShape([input_shape[0], *size, self.filters])

  def get_config(self):
    own = {"table_padding": self.table_padding, "taps": self.taps}
    return {**super().get_config(), **own}


@tf_keras.utils.register_keras_serializable(_PACKAGE)
class ExactDepthwiseConv2D(tf_keras.layers.DepthwiseConv2D):
  """DepthwiseConv2D for symmetric padding and for dilation at any stride."""

  def __init__(self, *args, table_padding="symmetric", taps=1, **kwargs):
    super().__init__(*args, **kwargs)
    self.table_padding = table_padding
    self.taps = taps

  def call(self, inputs):
    y = kernels.depthwise_conv2d(
      inputs,
      self.depthwise_kernel,
      self.strides,
      self.taps,
      self.table_padding,
    )
    return tf.nn.bias_add(y, self.bias) if self.use_bias else y

  def get_config(self):
    own = {"table_padding": self.table_padding, "taps": self.taps}
    return {**super().get_config(), **own}


@tf_keras.utils.register_keras_serializable(_PACKAGE)
class OpLayer(tf_keras.layers.Layer):
  """Runs a parameterless op of the table as it stands there."""

  def __init__(self, op, **kwargs):
    from qinit.graph import ops

    super().__init__(**kwargs)
    self.op = ops.from_dict(op) if isinstance(op, dict) else op

  def call(self, inputs):
    inputs = inputs if isinstance(inputs, list | tuple) else [inputs]
    return self.op.apply({}, *inputs)

  def get_config(self):
    return {**super().get_config(), "op": self.op.to_dict()}


@tf_keras.utils.register_keras_serializable(_PACKAGE)
class CheckpointedDropout(tf_keras.layers.Dropout):
  """Dropout whose random state is saved with tf.train.Checkpoint, so that a
  resumed training draws the masks of an undisturbed one (Keras' is not)."""

  def __init__(self, rate, **kwargs):
    super().__init__(rate, **kwargs)
    self.generator = tf.random.Generator.from_seed(0, alg="philox")

  def call(self, inputs, training=None):
    if not training:
      return inputs
    seed = self.generator.make_seeds()[:, 0]
    return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed)
