"""Chains traced for each kind of stretch compute what `forward` computes."""

import numpy as np
import pytest
import tensorflow as tf

from qinit.archs import darts
from qinit.archs.genotype import Genotype, NetConfig
from qinit.functional import chains, depthwise, pointwise, pooling, striding
from qinit.functional.forward import forward
from qinit.functional.moments import batch_moments
from qinit.graph import ops
from tests.quant_nets import random_params

CELLS = Genotype(
  (
    ("sep_conv_5x5", 0),
    ("dil_conv_3x3", 1),
    ("max_pool_3x3", 2),
    ("skip_connect", 1),
  ),
  (2, 3),
  (
    ("avg_pool_3x3", 0),
    ("conv_3x3", 1),
    ("dil_conv_5x5", 0),
    ("max_pool_3x3", 1),
  ),
  (3,),
)


def network(**changes):
  settings = dict(n_cells=3, C=8, stem_type=0, fc_layers=2, fc_dim=16) | changes
  spec = darts.build(NetConfig(CELLS, **settings), (16, 16, 3))
  params = {
    key: tf.constant(w)
    for key, w in random_params(spec, 3).items()
    if "moving" not in key
  }
  return spec, params


NETWORKS = [
  {},
  {"norm": None},
  {"stem_type": 1, "glob_avg": False, "fc_layers": 1},
]


@pytest.mark.parametrize("changes", NETWORKS, ids=str)
def test_logits_and_gradients_are_those_of_forward(changes, rng):
  spec, params = network(**changes)
  x = tf.constant(rng.normal(size=[4, 16, 16, 3]), tf.float32)
  found = []
  for run in (forward, chains.forward):
    with tf.GradientTape() as tape:
      tape.watch(params)
      logits = run(spec, params, x, training=True, seed=[1, 2])
      loss = tf.reduce_sum(logits**2)
    found.append((logits, tape.gradient(loss, params)))
  (logits, gradients), (own_logits, own_gradients) = found
  np.testing.assert_allclose(own_logits, logits, rtol=1e-5, atol=1e-5)
  for key, expected in gradients.items():
    scale = float(tf.reduce_max(tf.abs(expected))) + 1e-6
    np.testing.assert_allclose(
      own_gradients[key] / scale, expected / scale, atol=1e-4, err_msg=key
    )


def test_every_node_is_in_one_chain_and_chains_are_linear():
  spec, _ = network()
  found = chains.chains(spec)
  names = [node.name for chain in found for node in chain.nodes]
  assert sorted(names) == sorted(node.name for node in spec.nodes)
  for chain in found:
    for before, after in zip(chain.nodes, chain.nodes[1:], strict=False):
      assert after.inputs == (before.name,)
      assert spec.readers()[before.name] == (after.name,)


def test_other_widths_are_not_traced_anew(rng):
  x = tf.constant(rng.normal(size=[2, 16, 16, 3]), tf.float32)
  for width, once in ((8, False), (24, True), (40, True)):
    spec, params = network(C=width)
    before = chains._traced.cache_info().misses
    chains.forward(spec, params, x, training=True, seed=[0, 0])
    if once:
      assert chains._traced.cache_info().misses == before


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("dilation, stride", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_depthwise(size, dilation, stride, rng):
  op = ops.DepthwiseConv(size, stride, dilation, padding="symmetric")
  x = tf.constant(rng.normal(size=[2, 8, 8, 3]), tf.float32)
  kernel = tf.constant(rng.normal(size=[size, size, 3, 1]), tf.float32)
  _same(
    lambda x, w: op.apply({"depthwise_kernel": w}, x),
    lambda x, w: depthwise.apply(op, w, x),
    (x, kernel),
    rng,
  )


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8])
def test_pooling(kind, stride, size, rng):
  op = ops.Pool(kind, 3, stride, padding="symmetric")
  x = tf.constant(rng.normal(size=[2, size, size, 3]), tf.float32)
  _same(lambda x: op.apply({}, x), lambda x: pooling.apply(op, x), (x,), rng)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("size", [7, 8])
def test_pointwise(stride, padding, size, rng):
  op = ops.Conv(4, (1, 1), (stride, stride), padding=padding)
  assert pointwise.applies(op)
  x = tf.constant(rng.normal(size=[2, size, size, 3]), tf.float32)
  kernel = tf.constant(rng.normal(size=[1, 1, 3, 4]), tf.float32)
  _same(
    lambda x, w: op.apply({"kernel": w}, x),
    lambda x, w: pointwise.apply(op, w, x),
    (x, kernel),
    rng,
  )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("filters", [2, 3, 5])
@pytest.mark.parametrize("index", [0, 1])
def test_moments_of_pointwise(stride, filters, index, rng):
  op = ops.Conv(filters, (1, 1), (stride, stride))
  x = tf.constant(2 + rng.normal(size=[4, 7, 7, 3]), tf.float32)
  kernel = tf.constant(rng.normal(size=[1, 1, 3, filters]), tf.float32)
  _same(
    lambda x, w: tf.nn.moments(op.apply({"kernel": w}, x), [0, 1, 2])[index],
    lambda x, w: pointwise.moments(op, w, x)[index],
    (x, kernel),
    rng,
  )
  assert pointwise.moments_pay(op, kernel) == (filters >= 3)


def test_moments_of_pointwise_are_those_of_twice_the_precision(rng):
  x = (2 + rng.random([16, 32, 32, 24])).astype(np.float32)
  kernel = rng.normal(size=[1, 1, 24, 32]).astype(np.float32)
  mean, variance = pointwise.moments(ops.Conv(32, (1, 1)), kernel, x)
  y = x.astype(np.float64).reshape(-1, 24) @ kernel[0, 0].astype(np.float64)
  np.testing.assert_allclose(mean, y.mean(0), rtol=0, atol=6e-6)
  np.testing.assert_allclose(variance, y.var(0), rtol=1e-6)


def test_a_pointwise_channel_that_does_not_vary_has_no_negative_variance(rng):
  x = np.tile(rng.normal(size=[1, 1, 1, 8]), [64, 3, 3, 1])
  x[..., 0] = rng.normal(size=[64, 3, 3])  # of no weight
  kernel = rng.normal(size=[1, 1, 8, 16])
  kernel[:, :, 0] = 0
  _, variance = pointwise.moments(
    ops.Conv(16, (1, 1)), kernel.astype("f"), tf.constant(x, tf.float32)
  )
  assert np.all(variance >= 0) and np.all(variance < 1e-9)


@pytest.mark.parametrize("offset, stride", [(0, 2), (1, 1), (1, 2)])
@pytest.mark.parametrize("size", [7, 8])
def test_slices(offset, stride, size, rng):
  op = ops.Slice(offset, stride)
  x = tf.constant(rng.normal(size=[2, size, size, 3]), tf.float32)
  _same(lambda x: op.apply({}, x), lambda x: striding.sliced(op, x), (x,), rng)


def test_of_equal_values_one_gets_the_whole_gradient():
  op = ops.Pool("max", 3, 1, padding="symmetric")
  x = tf.zeros([1, 4, 4, 1])
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = pooling.apply(op, x)
  assert float(tf.reduce_sum(tape.gradient(y, x))) == 16


def test_moments(rng):
  x = tf.constant(3 + 2 * rng.normal(size=[4, 3, 3, 5]), tf.float32)
  for index in range(2):
    _same(
      lambda x, i=index: tf.nn.moments(x, [0, 1, 2])[i],
      lambda x, i=index: batch_moments(x)[i],
      (x,),
      rng,
    )


def _same(expected, found, arguments, rng):
  """Values and gradients of both functions agree."""
  results = []
  for f in (expected, found):
    with tf.GradientTape() as tape:
      tape.watch(arguments)
      y = f(*arguments)
    results.append((y, lambda dy, t=tape, y=y: t.gradient(y, arguments, dy)))
  (y, gradient), (own, own_gradient) = results
  np.testing.assert_allclose(own, y, atol=1e-5)
  dy = tf.constant(rng.normal(size=y.shape), tf.float32)
  for a, b in zip(own_gradient(dy), gradient(dy), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)
