"""The networks that the bench times in PyTorch are ours."""

import numpy as np
import pytest

from qinit.archs import darts
from qinit.archs.genotype import NetConfig
from tests.functional.test_chains import CELLS

pytest.importorskip("torch")

from experiments import bench_torch

NETWORKS = [
  {},
  {"norm": None},
  {"stem_type": 1, "glob_avg": False},
]


@pytest.mark.parametrize("changes", NETWORKS, ids=str)
def test_losses_and_gradients_are_pytorchs(changes, rng):
  config = dict(n_cells=3, C=8, stem_type=0, fc_layers=1, fc_dim=16) | changes
  spec = darts.build(NetConfig(CELLS, **config), (16, 16, 3))
  params = bench_torch.random_params(spec, rng)
  images = rng.normal(size=[4, 16, 16, 3]).astype(np.float32)
  labels = rng.integers(0, 10, 4)
  loss, own = bench_torch.gradients(spec, params, images, labels)
  other, found = bench_torch.torch_gradients(spec, params, images, labels)
  np.testing.assert_allclose(loss, other.item(), rtol=1e-5)
  largest = max(np.abs(g).max() for g in own.values() if g is not None)
  for key, gradient in own.items():
    if gradient is None:
      assert found[key] is None
      continue
    np.testing.assert_allclose(
      gradient, found[key], rtol=1e-3, atol=1e-5 * largest, err_msg=key
    )
