"""ReLU6: its ceiling is the end of the codes, or the network is refused."""

import numpy as np
import pytest

from qinit.errors import QuantError
from qinit.export import runtime, tflite
from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.quant.integer import IntegerNetwork
from qinit.quant.placement import place
from qinit.quant.quantized import quantize
from qinit.quant.scheme import Scheme
from tests import quant_nets


def net(*nodes):
  return NetSpec(
    (8, 8, 3), tuple(Node(name, op, tuple(i)) for name, op, *i in nodes)
  )


CHAIN = net(
  ("a", ops.Conv(6, 3), INPUT),
  ("a_relu", ops.Relu(6), "a"),
  ("b", ops.Conv(6, 3), "a_relu"),
  ("pool", ops.GlobalPool(), "b"),
  ("logits", ops.Dense(4), "pool"),
)


def test_values_end_at_the_ceiling_in_graph_simulator_and_file():
  params = quant_nets.random_params(CHAIN)
  params["a/kernel"] *= 20  # most values lie beyond 6
  x = quant_nets.images(CHAIN)
  job = quant_nets.job(CHAIN, params, x, Scheme(8, 8, 0.0))
  assert job.ranges["a_relu"] == (0, 6)
  network = IntegerNetwork(*job.args)
  wanted = forward(CHAIN, params, x).numpy()
  error = np.abs(network.logits(x) - wanted).max()
  assert error < 0.05 * np.ptp(wanted)
  model = tflite.lower(network.quantized)
  assert runtime.compare(model, network, x).equal == 100


def test_a_range_beyond_the_ceiling_is_refused():
  job = quant_nets.job(CHAIN)
  with pytest.raises(QuantError, match="'a_relu' clips at 6"):
    quantize(*job.args[:2], job.ranges | {"a_relu": (0, 7)}, job.scheme)


def test_a_ceiling_of_its_own_is_refused():
  spec = net(
    ("a", ops.Conv(6, 3), INPUT),
    ("left", ops.Relu(6), "a"),
    ("sum", ops.Add(), "a", "left"),
    ("pool", ops.GlobalPool(), "sum"),
    ("logits", ops.Dense(4), "pool"),
  )
  with pytest.raises(QuantError, match="'left' clips at 6 on its own"):
    place(spec)
