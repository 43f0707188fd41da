"""One tensor quantised at a time."""

import numpy as np
import pytest

from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.spec import NetSpec, Node
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.placement import place
from qinit.quant.scheme import Scheme
from qinit.stats import accuracy
from qinit.stats.layerwise import LayerRow
from qinit.study.sensitivity import with_sensitivity

SPEC = NetSpec(
  (4, 4, 3),
  (
    Node("conv", ops.Conv(4, use_bias=True), ("input",)),
    Node("relu", ops.Relu(), ("conv",)),
    Node("pool", ops.GlobalPool(), ("relu",)),
    Node("logits", ops.Dense(5), ("pool",)),
  ),
)
RANGES = {
  "input": (0.0, 1.0),
  "relu": (0.0, 3.0),
  "pool": (0.0, 2.0),
  "logits": (-4.0, 4.0),
}


def _row(kind, name):
  return LayerRow(0, name, kind, *[1.0] * 8)


@pytest.fixture
def params(rng):
  return {
    key: rng.normal(size=p.shape).astype(np.float32)
    for key, p in SPEC.param_specs().items()
  }


@pytest.mark.parametrize(
  ("kind", "name", "keys"),
  [
    ("weight", "conv", ("conv/kernel", "conv/bias")),
    ("weight", "logits", ("logits/kernel", "logits/bias")),
    ("activation", "relu", ("relu",)),
    ("activation", "pool", ("pool",)),
    ("activation", "input", ("input",)),
  ],
)
def test_only_the_named_tensor_is_quantised(rng, params, kind, name, keys):
  images = rng.uniform(size=(300, 4, 4, 3)).astype(np.float32)
  labels = rng.integers(0, 5, 300)
  tap = FakeQuant(place(SPEC), params, RANGES, Scheme(2, 2))

  def alone(which, key, tensor):
    return tap(which, key, tensor) if key in keys else tensor

  before = forward(SPEC, params, images).numpy()
  after = forward(SPEC, params, images, alone).numpy()
  (row,) = with_sensitivity(
    [_row(kind, name)], place(SPEC), params, tap, images, labels
  )
  assert row.kl == pytest.approx(accuracy.kl(before, after), rel=1e-4)
  loss = accuracy.accuracy(before, labels) - accuracy.accuracy(after, labels)
  assert row.accuracy_loss == pytest.approx(loss)
  assert row.kl > 0
