"""Equalisation, bias correction and AdaRound."""

import numpy as np
import pytest

from qinit.functional.forward import forward
from qinit.graph import ops, rewrite
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.quant.adaround import adaround
from qinit.quant.bias_correction import correct_biases
from qinit.quant.equalise import equalise, neighbours
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.placement import place
from qinit.quant.quantized import quantize
from qinit.quant.ranges import calibrate
from qinit.quant.scheme import Scheme
from tests import quant_nets

W4A8 = Scheme(4, 8, 0.0)


def chain(*rows):
  """A network of rows (name, op), each reading the one before."""
  nodes, source = [], INPUT
  for name, op in rows:
    nodes.append(Node(name, op, (source,)))
    source = name
  return NetSpec((8, 8, 3), tuple(nodes))


@pytest.fixture
def separable():
  """A folded separable network whose channels differ a thousandfold."""
  spec = chain(
    ("stem", ops.Conv(6, 3, use_bias=True)),
    ("stem_relu", ops.Relu()),
    ("dw", ops.DepthwiseConv(3, use_bias=True)),
    ("dw_relu", ops.Relu()),
    ("pw", ops.Conv(5, 1, use_bias=True)),
    ("pool", ops.GlobalPool()),
    ("logits", ops.Dense(4)),
  )
  params = quant_nets.random_params(spec)
  factors = np.float32(10.0 ** np.linspace(-1.5, 1.5, 6))
  params["stem/kernel"] *= factors
  params["dw/depthwise_kernel"] *= factors[::-1, None]
  return spec, params, quant_nets.images(spec, 64)


def quantised_error(spec, params, ranges, x, wanted):
  tap = FakeQuant(place(spec), params, ranges, W4A8)
  y = forward(spec, params, x, tap).numpy()
  return float(np.mean((y - wanted) ** 2))


def test_equalised_by_hand():
  # r1 = (4, 1), r2 = (1, 4): s = sqrt(r1 / r2) = (2, 1/2), so both become 2.
  spec = chain(
    ("a", ops.Conv(2, 1, use_bias=True)),
    ("relu", ops.Relu()),
    ("b", ops.Conv(1, 1)),
  )
  params = {
    "a/kernel": np.float32([[[[4, 1], [0, 0], [0, 0]]]]).reshape(1, 1, 3, 2),
    "a/bias": np.float32([6, 3]),
    "b/kernel": np.float32([1, -4]).reshape(1, 1, 2, 1),
  }
  found = equalise(spec, params)
  np.testing.assert_allclose(found["a/kernel"][0, 0, 0], [2, 2])
  np.testing.assert_allclose(found["a/bias"], [3, 6])
  np.testing.assert_allclose(found["b/kernel"].ravel(), [2, -2])


def test_equalisation_keeps_the_function_and_helps_quantisation(separable):
  spec, params, x = separable
  found = equalise(spec, params)
  wanted = forward(spec, params, x).numpy()
  np.testing.assert_allclose(
    forward(spec, found, x), wanted, rtol=1e-4, atol=1e-4 * np.ptp(wanted)
  )
  errors = [
    quantised_error(spec, p, calibrate(spec, p, [x], W4A8), x, wanted)
    for p in (params, found)
  ]
  assert errors[1] < 0.5 * errors[0]


def test_neighbours_stop_at_branches_ceilings_and_pools(separable):
  def pairs(spec):
    return [(a.node.name, b.node.name) for a, b in neighbours(place(spec))]

  assert pairs(separable[0]) == [("stem", "dw"), ("dw", "pw")]
  bounded = chain(
    ("a", ops.Conv(4, 1)), ("relu", ops.Relu(6)), ("b", ops.Conv(4, 1))
  )
  assert pairs(bounded) == []
  folded = rewrite.fold_spec(quant_nets.cell())
  assert ("left_dw", "left_pw") in pairs(folded)
  assert all(first != "stem" for first, _ in pairs(folded))


def test_corrected_biases_give_the_float_means(separable):
  spec, _, x = separable
  params, scheme = quant_nets.random_params(spec), Scheme(3, 8, 0.0)
  ranges = calibrate(spec, params, [x], scheme)
  found = correct_biases(spec, params, ranges, scheme, x)

  def means(p, tap=None):
    seen = {}

    def watch(kind, name, tensor):
      if kind == "activation" and name in ("stem", "dw", "pw"):
        seen[name] = np.mean(tensor, (0, 1, 2))
      return tensor if tap is None else tap(kind, name, tensor)

    forward(spec, p, x, watch)
    return seen

  wanted = means(params)
  after = means(found, FakeQuant(place(spec), found, ranges, scheme))
  before = means(params, FakeQuant(place(spec), params, ranges, scheme))
  network = quantize(spec, params, ranges, scheme)
  left = shift = 0.0
  for group in network.placement.groups[:3]:
    name, x_scale = group.node.name, network.affines[group.inputs[0]].scale
    # Biases lie on a grid: rounded before and after, two halves of a step.
    step = x_scale * network.weights[group.name].affine.scale
    error = np.abs(after[name] - wanted[name])
    assert error.max() <= 1.001 * step
    left += error.sum()
    shift += np.abs(before[name] - wanted[name]).sum()
  assert shift > 3 * left
  for key in params:
    if not key.endswith("bias"):
      np.testing.assert_array_equal(found[key], params[key])


def test_adaround_stays_on_the_grid_next_door_and_beats_rounding():
  spec = chain(
    ("stem", ops.Conv(6, 3, use_bias=True)),
    ("stem_relu", ops.Relu()),
    ("pw", ops.Conv(5, 1, use_bias=True)),
    ("pool", ops.GlobalPool()),
    ("logits", ops.Dense(4)),
  )
  params = quant_nets.random_params(spec)
  x, scheme = quant_nets.images(spec, 64), Scheme(3, 8, 0.0)
  ranges = calibrate(spec, params, [x], scheme)
  found, kept = adaround(spec, params, ranges, scheme, x, steps=200)
  network = quantize(spec, params, ranges, scheme)
  learned = quantize(spec, found, kept, scheme)
  for name, weights in network.weights.items():
    key = network.placement.group[name].kernel
    mine = learned.weights[name]
    np.testing.assert_array_equal(
      mine.affine.dequantize(mine.codes), found[key]
    )
    exact = params[key] / weights.affine.scale + weights.affine.zero_point
    assert np.all(np.abs(mine.codes - exact) < 1 + 1e-3)
  wanted = forward(spec, params, x).numpy()

  def error(p, r):
    tap = FakeQuant(place(spec), p, r, scheme)
    return float(np.mean((forward(spec, p, x, tap).numpy() - wanted) ** 2))

  assert error(found, kept) < 0.7 * error(params, ranges)
