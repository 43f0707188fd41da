import json

import numpy as np
import pytest

from qinit.errors import QuantError
from qinit.functional.forward import forward
from qinit.graph import ops, rewrite
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.quant.ranges import Histogram, calibrate
from qinit.quant.scheme import Scheme
from tests import quant_nets


@pytest.mark.parametrize("percent", [0, 1, 5, 50, 99, 99.9, 100])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_percentiles_are_those_of_numpy(rng, percent, scale):
  values = (rng.standard_normal(200_000) * scale).astype(np.float32)
  histogram = Histogram()
  for part in np.array_split(values, 7):
    histogram.add(part)
  wanted = np.percentile(values, percent)
  assert (
    abs(histogram.percentile(percent) - wanted)
    < 0.004 * abs(wanted) + 1e-4 * scale
  )


def test_a_relu_puts_percentiles_among_its_zeros(rng):
  values = np.maximum(rng.standard_normal((100, 1000)), 0)
  histogram = Histogram()
  histogram.add(values)
  assert histogram.percentile(1) == pytest.approx(0, abs=1e-30)
  assert histogram.percentile(99) == pytest.approx(
    np.percentile(values, 99), rel=0.004
  )


def observed(spec, params, x):
  seen = {}

  def tap(kind, name, tensor):
    seen[name] = tensor.numpy() if hasattr(tensor, "numpy") else tensor
    return tensor

  forward(spec, params, x, tap)
  return seen


def test_ranges_of_a_network():
  spec = rewrite.fold_spec(quant_nets.cell())
  params = quant_nets.random_params(spec)
  x = quant_nets.images(spec)
  ranges = calibrate(spec, params, [x[:20], x[20:]], Scheme(), (-3, 3))
  seen = observed(spec, params, x)
  assert ranges[INPUT] == (-3, 3)
  logits = seen["logits"]
  assert ranges["logits"] == (logits.min(), logits.max())
  for name in ("stem", "left_dw", "reduced", "joined"):
    wanted = np.percentile(seen[name], [1, 99])
    assert ranges[name] == pytest.approx(wanted, rel=0.01)
  assert json.loads(json.dumps(ranges))["stem"] == list(ranges["stem"])


def test_without_an_input_range_it_is_that_of_the_images():
  spec = rewrite.fold_spec(quant_nets.cell())
  x = quant_nets.images(spec)
  params = quant_nets.random_params(spec)
  ranges = calibrate(spec, params, [x], Scheme())
  assert ranges[INPUT] == (x.min(), x.max())


def test_diverged_and_missing_images_are_named():
  spec = rewrite.fold_spec(quant_nets.cell())
  params = quant_nets.random_params(spec)
  with pytest.raises(QuantError, match="needs at least one image"):
    calibrate(spec, params, [], Scheme())
  params["stem/bias"] = params["stem/bias"] * np.nan
  with pytest.raises(QuantError, match="the network has diverged"):
    calibrate(spec, params, [quant_nets.images(spec)], Scheme())


def test_a_dead_branch_gets_a_range_that_the_runtime_accepts():
  rows = [
    ("big", ops.Conv(4, 3, use_bias=True), INPUT),
    ("dead", ops.Conv(4, 3, use_bias=True), INPUT),
    ("relu", ops.Relu(), "dead"),
    ("sum", ops.Add(), "big", "relu"),
  ]
  spec = NetSpec((8, 8, 3), tuple(Node(n, op, tuple(i)) for n, op, *i in rows))
  params = quant_nets.random_params(spec)
  params["dead/bias"] = params["dead/bias"] * 0 - 1e6
  params["big/kernel"] = params["big/kernel"] * 1e6
  x = quant_nets.images(spec)
  ranges = calibrate(spec, params, [x], Scheme(), quant_nets.INPUT_RANGE)
  width = {name: hi - lo for name, (lo, hi) in ranges.items()}
  assert 2**-10 <= width["relu"] / width["sum"] < 2**8
