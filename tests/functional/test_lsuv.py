import numpy as np
import pytest
import tensorflow as tf

from qinit.archs import zoo
from qinit.functional.forward import forward
from qinit.functional.lsuv import lsuv
from qinit.params.initializers import initial_params, studied_kernels


def output_variances(spec, params, images):
  """Variance of every node's output, in float64."""
  found = {}

  def tap(kind, name, tensor):
    if kind == "activation":
      found[name] = tensor.numpy().astype(np.float64).var()
    return tensor

  forward(spec, params, images, tap=tap)
  return found


@pytest.mark.parametrize("arch", ["dws_conv_no_bn", "basic_residual_bn"])
def test_every_studied_layer_has_unit_variance_afterwards(arch, rng):
  spec = zoo.build(arch, 0.125, input_shape=(16, 16, 3))
  params = initial_params(spec, "lsuv", seed=0)
  x = tf.constant(rng.uniform(0, 1, (32, 16, 16, 3)).astype(np.float32))
  kernels = studied_kernels(spec)
  before = output_variances(spec, params, x)
  after = output_variances(spec, lsuv(spec, params, kernels, x), x)
  layers = [key.rsplit("/", 1)[0] for key in kernels]
  assert max(abs(before[name] - 1) for name in layers) > 0.5
  for name in layers:
    assert after[name] == pytest.approx(1.0, rel=1e-3), name


def test_only_the_studied_kernels_change_and_only_in_scale(rng):
  spec = zoo.build("mbnetv2_bn", 0.125, input_shape=(8, 8, 3))
  params = initial_params(spec, "lsuv", seed=0)
  kernels = studied_kernels(spec)
  x = tf.constant(rng.uniform(0, 1, (8, 8, 8, 3)).astype(np.float32))
  scaled = lsuv(spec, params, kernels, x)
  assert set(scaled) == set(params)
  for key, value in params.items():
    if key not in kernels:
      np.testing.assert_array_equal(scaled[key], value)
      continue
    ratio = scaled[key] / value
    np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-5)


def test_a_dead_layer_is_left_alone():
  spec = zoo.build("dws_conv_no_bn", 0.125, input_shape=(8, 8, 3))
  params = initial_params(spec, "lsuv", seed=0)
  kernels = studied_kernels(spec)
  scaled = lsuv(spec, params, kernels, tf.zeros([4, 8, 8, 3]))
  for key in kernels:
    np.testing.assert_array_equal(scaled[key], params[key])
