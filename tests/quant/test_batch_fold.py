"""BatchNorm folded anew for every batch, against the definition."""

import numpy as np
import pytest
import tensorflow as tf

from qinit.errors import QuantError
from qinit.functional.forward import forward, identity
from qinit.graph import ops
from qinit.graph.spec import NetSpec, Node
from qinit.params.initializers import initial_params
from qinit.quant.affine import Affine
from qinit.quant.batch_fold import BatchFolded
from qinit.quant.scheme import Scheme

_MOVING = ("moving_mean", "moving_variance")


def without_statistics(params):
  return {k: v for k, v in params.items() if not k.endswith(_MOVING)}


def small():
  rows = (
    ("conv", ops.Conv(6, padding="symmetric"), "input"),
    ("bn", ops.BatchNorm(1e-5), "conv"),
    ("relu", ops.Relu(), "bn"),
    ("pool", ops.GlobalPool(), "relu"),
    ("fc", ops.Dense(3), "pool"),
  )
  spec = NetSpec((6, 6, 3), tuple(Node(n, op, (i,)) for n, op, i in rows))
  params = initial_params(spec, "he_uniform", 0)
  rng = np.random.default_rng(1)
  for key in ("bn/gamma", "bn/beta", "fc/bias"):
    params[key] = rng.normal(size=params[key].shape).astype(np.float32)
  return spec, without_statistics(params)


@pytest.mark.parametrize("arch", ["mbnetv2_bn", "basic_residual_bn"])
def test_without_quantisation_it_is_the_float_network(lively, arch, rng):
  spec, params = lively(arch)
  params = without_statistics(params)
  x = rng.normal(size=(16, 16, 16, 3)).astype(np.float32)
  ours = BatchFolded(spec, params).forward(x, lambda _: identity)
  theirs = forward(spec, params, x).numpy()
  np.testing.assert_allclose(
    ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max()
  )


def test_the_definition_by_hand(rng):
  """Statistics from the quantised input and float weights; then fold,
  quantise, convolve again."""
  spec, params = small()
  x = rng.normal(size=(8, 6, 6, 3)).astype(np.float32)
  network = BatchFolded(spec, params)
  ranges = network.calibrate([x], 0.0, (-3.0, 3.0))
  scheme = Scheme(4, 4, 0.0)
  found = network.logits([x], ranges, scheme)

  def at(name, value, bits):
    affine = Affine.from_range(*ranges[name], bits)
    return affine.dequantize(affine.quantize(np.asarray(value)))

  def of(tensor):
    affine = Affine.from_range(tensor.min(), tensor.max(), 4)
    return affine.dequantize(affine.quantize(tensor))

  quantised = at("input", x, 8)
  y = tf.nn.conv2d(quantised, params["conv/kernel"], 1, "SAME").numpy()
  scale = params["bn/gamma"] / np.sqrt(y.var((0, 1, 2)) + 1e-5)
  kernel = of(params["conv/kernel"] * scale)
  y = tf.nn.conv2d(quantised, kernel, 1, "SAME").numpy()
  mean = tf.nn.conv2d(quantised, params["conv/kernel"], 1, "SAME").numpy()
  y += params["bn/beta"] - mean.mean((0, 1, 2)) * scale
  y = at("relu", np.maximum(y, 0), 4)
  y = at("pool", y.mean((1, 2)), 4)
  y = y @ of(params["fc/kernel"]) + params["fc/bias"]
  step = (ranges["fc"][1] - ranges["fc"][0]) / 255
  # The biases' own rounding may move a value across one border of its grid.
  assert np.mean(np.abs(found - at("fc", y, 8)) <= 1.01 * step) > 0.95


def test_each_batch_has_its_own_statistics(rng):
  spec, params = small()
  network = BatchFolded(spec, params)
  a, b = (rng.normal(size=(8, 6, 6, 3)).astype(np.float32) for _ in "ab")
  ranges = network.calibrate([a, b], 0.0)
  both = network.logits([a, b], ranges, Scheme())
  np.testing.assert_array_equal(both[:8], network.logits([a], ranges, Scheme()))
  np.testing.assert_array_equal(both[8:], network.logits([b], ranges, Scheme()))


def test_eight_bits_are_close_and_two_are_not(rng):
  spec, params = small()
  network = BatchFolded(spec, params)
  x = rng.normal(size=(32, 6, 6, 3)).astype(np.float32)
  ranges = network.calibrate([x], 0.0)
  theirs = forward(spec, params, x).numpy()
  errors = [
    np.abs(network.logits([x], ranges, Scheme(w, w)) - theirs).mean()
    for w in (8, 4, 2)
  ]
  assert errors[0] < 0.02 * np.abs(theirs).max()
  assert errors[0] < errors[1] < errors[2]


def test_refusals():
  spec, params = small()
  with pytest.raises(QuantError, match="at least one image"):
    BatchFolded(spec, params).calibrate([], 0.0)
