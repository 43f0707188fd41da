"""Arithmetic that TensorFlow gets wrong in a traced function."""

import numpy as np
import tensorflow as tf

from qinit.graph import ops


def test_a_biased_strided_symmetric_depthwise_convolution_can_be_traced():
  # With the op's own EXPLICIT padding Grappler aborts the process here.
  rng = np.random.default_rng(0)
  op = ops.DepthwiseConv(3, 2, padding="symmetric", use_bias=True)
  params = {
    role: tf.constant(rng.normal(size=shape), tf.float32)
    for role, shape in op.param_shapes((8, 8, 4)).items()
  }
  x = tf.constant(rng.normal(size=(2, 8, 8, 4)), tf.float32)
  traced = tf.function(
    lambda x: op.apply(params, x),
    input_signature=[tf.TensorSpec([None, 8, 8, 4])],
  )
  np.testing.assert_allclose(traced(x), op.apply(params, x), rtol=1e-5)
