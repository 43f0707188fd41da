"""Two small networks of our own whose values must not change."""

import json
from pathlib import Path

import numpy as np
import pytest

from qinit.archs import darts, genotype
from qinit.functional.forward import forward
from qinit.ghn.checkpoint import from_state_dict, published_shapes
from qinit.ghn.config import GhnConfig
from tests.ghn.test_golden import formula

DATA = Path(__file__).parent.parent / "data"
CONFIG = GhnConfig(hid=8, max_channels=8, max_kernel=7, virtual_edge=10)


def values(name):
  """What is compared: the graph's size, states, parameters, logits."""
  shapes = published_shapes(CONFIG).items()
  state = {n: formula(t, n, s) for t, (n, s) in enumerate(shapes)}
  ghn = from_state_dict(CONFIG, state)
  text = (DATA / f"ghn_net_{name}.json").read_text()
  spec = darts.build(genotype.from_json(text))
  graph = ghn.view(spec)
  params = ghn.predict(spec)
  images = np.random.RandomState(7).randn(4, 32, 32, 3).astype(np.float32)
  return {
    "nodes": len(graph),
    "edges": len(graph.edges),
    "distances": int(graph.edges[:, 2].sum()),
    "states": np.linalg.norm(ghn.embed([graph]), axis=0).tolist(),
    "params": {k: float(np.linalg.norm(v)) for k, v in params.items()},
    "logits": forward(spec, params, images).numpy().ravel().tolist(),
  }


@pytest.mark.parametrize("name", ["a", "b"])
def test_values(name):
  expected = json.loads((DATA / f"ghn_values_{name}.json").read_text())
  found = values(name)
  for key in ("nodes", "edges", "distances"):
    assert found[key] == expected[key]
  assert found["states"] == pytest.approx(expected["states"], rel=1e-5)
  assert found["params"] == pytest.approx(expected["params"], rel=1e-5)
  logits = np.array(expected["logits"])
  error = np.abs(np.array(found["logits"]) - logits).max()
  assert error <= 1e-4 * np.abs(logits).max()
