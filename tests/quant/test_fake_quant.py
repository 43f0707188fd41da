import numpy as np
import tensorflow as tf

from qinit.functional.forward import forward
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.integer import IntegerNetwork
from qinit.quant.placement import place
from qinit.quant.quantized import quantize
from qinit.quant.scheme import Scheme
from tests import quant_nets


def fake(job, record=lambda kind, name, value: None):
  placement = place(job.spec)
  quant = FakeQuant(placement, job.params, job.ranges, job.scheme)

  def tap(kind, name, tensor):
    value = quant(kind, name, tensor)
    record(kind, name, value)
    return value

  return lambda x: forward(placement.spec, job.params, x, tap)


def test_weights_and_biases_lie_on_the_grids_of_the_file():
  job = quant_nets.job(quant_nets.cell(), scheme=Scheme(3, 8))
  network, seen = quantize(*job.args), {}
  fake(job, lambda kind, name, value: seen.update({name: value}))(
    quant_nets.images(job.spec)
  )
  for group in network.placement.groups:
    if group.kernel:
      weights = network.weights[group.name]
      np.testing.assert_array_equal(
        seen[group.kernel], weights.affine.dequantize(weights.codes)
      )
      scale = network.affines[group.inputs[0]].scale * weights.affine.scale
      if group.bias in seen:
        np.testing.assert_allclose(
          seen[group.bias] / scale, weights.bias, rtol=1e-6
        )


def test_every_tensor_between_groups_holds_codes():
  job = quant_nets.job(quant_nets.cell(), scheme=Scheme(4, 3))
  seen = {}
  fake(job, lambda kind, name, value: seen.update({name: value}))(
    quant_nets.images(job.spec)
  )
  network = quantize(*job.args)
  for name, affine in network.affines.items():
    codes = np.asarray(seen[name]) / affine.scale + affine.zero_point
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-4)
    assert codes.min() > -0.5
    assert codes.max() < affine.levels + 0.5


def test_agrees_with_the_integers_but_for_ties(lively):
  spec, params = lively("mbnetv2_bn", input_shape=(32, 32, 3))
  job = quant_nets.job(spec, params)
  x = quant_nets.images(spec)
  network, seen = IntegerNetwork(*job.args), {}
  fake(job, lambda kind, name, value: seen.update({name: value}))(x)
  for name in ("input", "stem_relu", "block1_dw_relu", "block1_add"):
    codes = network.affines[name].quantize(seen[name])
    assert np.mean(codes == network.codes(x)[name]) > 0.999


def test_gradients_reach_every_parameter_and_stop_where_ranges_clip():
  job = quant_nets.job(quant_nets.cell())
  params = {k: tf.Variable(v) for k, v in job.params.items()}
  job = quant_nets.Job(job.spec, params, job.ranges, job.scheme)
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean(fake(job)(quant_nets.images(job.spec)) ** 2)
  for key, gradient in tape.gradient(loss, params).items():
    assert np.isfinite(gradient).all(), key
    assert np.abs(gradient).max() > 0, key
