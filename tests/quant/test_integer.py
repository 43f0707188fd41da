"""The simulator against exact integer arithmetic written out in NumPy; the
comparison with LiteRT is in tests/export."""

import numpy as np
import pytest

from qinit.archs import zoo
from qinit.errors import QuantError
from qinit.functional.forward import forward
from qinit.graph import ops, rewrite
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.quant.integer import IntegerNetwork
from qinit.quant.quantized import quantize
from qinit.quant.scheme import Scheme
from tests import quant_nets


def dense_network(channels, seed=0):
  """A dense layer whose accumulators may pass 2^24."""
  spec = NetSpec(
    (2, 2, channels // 4),
    (
      Node("flat", ops.Flatten(), (INPUT,)),
      Node("logits", ops.Dense(7), ("flat",)),
    ),
  )
  rng = np.random.default_rng(seed)
  kernel = np.abs(rng.normal(size=(channels, 7))).astype(np.float32)
  params = {"logits/kernel": kernel, "logits/bias": rng.normal(size=7)}
  x = np.abs(rng.normal(size=(64, 2, 2, channels // 4))).astype(np.float32)
  return quant_nets.job(spec, params, x), x


@pytest.mark.parametrize("channels", [8, 1024, 16384])
def test_sums_beyond_float32_are_exact(channels):
  job, x = dense_network(channels)
  network = IntegerNetwork(*job.args)
  weights = network.quantized.weights["logits"]
  source, output = network.affines["flat"], network.affines["logits"]
  q = network.input_codes(x).reshape(64, -1).astype(np.int64)
  kernel = weights.codes.astype(np.int64) - weights.affine.zero_point
  total = (q - source.zero_point) @ kernel + weights.bias
  assert (np.abs(total).max() > 2**24) == (channels == 16384)
  scale = source.scale * weights.affine.scale / output.scale
  codes = np.rint(total.astype(np.float32) * scale) + output.zero_point
  np.testing.assert_array_equal(network.output_codes(x), np.clip(codes, 0, 255))


def test_groups_chained_by_hand_make_the_network():
  job = quant_nets.job(quant_nets.cell())
  x = quant_nets.images(job.spec)
  network = IntegerNetwork(*job.args, batch_size=20)
  codes = network.codes(x)
  for group in network.placement.groups:
    inputs = [codes[name] for name in group.inputs]
    np.testing.assert_array_equal(
      network.run_node(group.name, *inputs), codes[group.name]
    )
  np.testing.assert_array_equal(network.output_codes(x), codes["logits"])
  np.testing.assert_array_equal(network.input_codes(x), codes[INPUT])
  scale, zero_point = (
    network.affines["logits"].scale,
    network.affines["logits"].zero_point,
  )
  wanted = (codes["logits"].astype(np.float32) - zero_point) * scale
  np.testing.assert_array_equal(network.logits(x), wanted)


def test_logits_are_near_those_of_the_float_network():
  job = quant_nets.job(quant_nets.cell(), scheme=Scheme(8, 8, 0.0))
  x = quant_nets.images(job.spec)
  wanted = forward(job.spec, job.params, x).numpy()
  error = IntegerNetwork(*job.args).logits(x) - wanted
  signal = wanted - wanted.mean(0)
  assert np.mean(error**2) < 0.01 * np.mean(signal**2)


def test_what_cannot_be_quantised_is_named():
  job = quant_nets.job(zoo.build("dws_conv_bn", 0.125))
  missing = {k: v for k, v in job.ranges.items() if k != "pool"}
  with pytest.raises(QuantError, match="no range for 'pool': calibrate"):
    quantize(job.spec, job.params, missing, job.scheme)
  broken = job.params | {"stem/bias": job.params["stem/bias"] * np.inf}
  with pytest.raises(QuantError, match="weights of 'stem' are not finite"):
    quantize(job.spec, broken, job.ranges, job.scheme)
  spec = zoo.build("dws_conv_bn", 0.125)
  with pytest.raises(QuantError, match="'stem_bn' cannot be folded"):
    quantize(spec, {}, job.ranges, job.scheme)


def test_folding_a_spec_is_what_quantising_expects():
  spec = zoo.build("mbnetv2_bn", 0.125)
  job = quant_nets.job(spec)
  assert job.spec == rewrite.fold_spec(spec)
