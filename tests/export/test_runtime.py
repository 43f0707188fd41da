"""LiteRT against the simulator, code for code."""

import numpy as np
import pytest

from qinit.errors import ExportError
from qinit.export import runtime, tflite
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.quant.integer import IntegerNetwork
from qinit.quant.scheme import parse_bits
from tests import quant_nets
from tests.export.parity import assert_layers_agree

WIDTHS = ["w8a8", "w4a4", "w2a2", "w3a5", "w4a8"]


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_cell_of_every_op_agrees_at_every_width(bits):
  job = quant_nets.job(quant_nets.cell(), scheme=parse_bits(bits)[0])
  x = quant_nets.images(job.spec, 64)
  network, model = IntegerNetwork(*job.args), tflite.export(*job.args)
  assert_layers_agree(model, network, x)
  end_to_end = runtime.compare(model, network, x)
  assert end_to_end.equal == 100
  assert len(np.unique(network.output_codes(x))) >= 10


def one_op(op, shape):
  before = Node("before", ops.Conv(4, 3), (INPUT,))
  return quant_nets.job(NetSpec(shape, (before, Node("op", op, ("before",)))))


@pytest.mark.parametrize(
  "op",
  [
    ops.Conv(6, 3),
    ops.Conv(6, (1, 3), 2),
    ops.Conv(6, 1, 2),
    ops.Conv(6, 5, 2, padding="symmetric"),
    ops.Conv(6, 3, 1, dilation=2),
    ops.DepthwiseConv(3),
    ops.DepthwiseConv(3, 2),
    ops.DepthwiseConv(3, 2, dilation=2),
    ops.DepthwiseConv(5, 2, padding="symmetric"),
    ops.Pool("max", 3, 2),
    ops.Pool("avg", 3, 2),
    ops.Pool("avg", 3, 2, "symmetric"),
    ops.Pool("max", 3, 2, "symmetric"),
    ops.GlobalPool(),
    ops.Slice(1, 2),
    ops.Flatten("chw"),
    ops.Flatten(),
  ],
  ids=lambda op: str(op.to_dict()),
)
@pytest.mark.parametrize("height", [9, 16])
def test_every_op_agrees_at_odd_and_even_sizes(op, height):
  job = one_op(op, (height, height, 4))
  x = quant_nets.images(job.spec, 32)
  network, model = IntegerNetwork(*job.args), tflite.export(*job.args)
  assert_layers_agree(model, network, x, equal=100)


def test_extreme_scales_still_run_and_agree():
  """A dead branch, weights of 1e4 and of 1e-6 in one network."""
  rows = [
    ("large", ops.Conv(4, 3, use_bias=True), INPUT),
    ("dead", ops.Conv(4, 3, use_bias=True), "large"),
    ("relu", ops.Relu(), "dead"),
    ("small", ops.Conv(4, 3, use_bias=True), "relu"),
    ("sum", ops.Add(), "large", "small"),
    ("pool", ops.GlobalPool(), "sum"),
    ("logits", ops.Dense(10), "pool"),
  ]
  spec = NetSpec((8, 8, 3), tuple(Node(n, op, tuple(i)) for n, op, *i in rows))
  params = quant_nets.random_params(spec)
  params["large/kernel"] = params["large/kernel"] * 1e4
  params["small/kernel"] = params["small/kernel"] * 1e-6
  params["dead/bias"] = params["dead/bias"] - 1e9
  job = quant_nets.job(spec, params)
  x = quant_nets.images(spec)
  network, model = IntegerNetwork(*job.args), tflite.export(*job.args)
  assert_layers_agree(model, network, x, equal=100)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_of_any_size_give_the_same_codes(lively, batch_size):
  spec, params = lively("mbnetv2_bn")
  job = quant_nets.job(spec, params)
  network = IntegerNetwork(*job.args)
  codes = network.input_codes(quant_nets.images(spec, 20))
  model = tflite.export(*job.args)
  resized = runtime.Runtime(model, batch_size=batch_size).output_codes(codes)
  fixed = tflite.export(*job.args, batch_size=batch_size)
  np.testing.assert_array_equal(
    resized, runtime.Runtime(fixed).output_codes(codes)
  )


def test_a_parity_by_hand():
  a, b = np.array([[0, 255, 3, 4]], np.uint8), np.array([[0, 250, 4, 4]])
  assert runtime.Parity.of(a, b.astype(np.uint8)) == runtime.Parity(50, 5)


def test_what_litert_refuses_is_named():
  with pytest.raises(ExportError, match="LiteRT refuses the file"):
    runtime.Runtime(b"no model at all")
