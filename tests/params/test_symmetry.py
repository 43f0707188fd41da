"""Predicted parameters, told apart."""

import numpy as np
import pytest

from qinit.archs import zoo
from qinit.errors import QinitError
from qinit.params.initializers import initial_params
from qinit.params.symmetry import CHANGES, break_symmetry

SPEC = zoo.build("dws_conv_bn", 0.25)


@pytest.fixture
def tiled():
  """Kernels that repeat their first two output channels, as a hypernetwork's
  do."""
  params = initial_params(SPEC, "he_uniform", 0)
  for key, value in params.items():
    if key.endswith("/kernel") and value.shape[-1] % 2 == 0:
      value[...] = np.tile(value[..., :2], value.shape[-1] // 2)
  return params


def equal_channels(kernel):
  columns = kernel.reshape(-1, kernel.shape[-1])
  return columns.shape[1] - len(np.unique(columns, axis=1).T)


def test_none_changes_nothing(tiled):
  found = break_symmetry(SPEC, tiled, "none", 0)
  for key, value in tiled.items():
    np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("how", ["noise", "orthogonal"])
def test_equal_channels_part_and_norms_stay(tiled, how):
  found = break_symmetry(SPEC, tiled, how, 0)
  for key, value in tiled.items():
    if not key.endswith("kernel"):
      np.testing.assert_array_equal(found[key], value)
    elif key.endswith("/kernel") and "logits" not in key:
      assert equal_channels(value) > 0
      assert equal_channels(found[key]) == 0
      norm = np.linalg.norm(value)
      np.testing.assert_allclose(np.linalg.norm(found[key]), norm, rtol=0.01)
      assert found[key].dtype == np.float32


def test_noise_is_a_twentieth_of_the_deviation(tiled):
  key = "block6_pw/kernel"
  found = break_symmetry(SPEC, tiled, "noise", 0)
  change = (found[key] - tiled[key]).std() / tiled[key].std()
  np.testing.assert_allclose(change, 0.05, rtol=0.05)


def test_orthogonal_kernels_are_orthogonal(tiled):
  found = break_symmetry(SPEC, tiled, "orthogonal", 0)
  for key in ("stem/kernel", "block6_pw/kernel", "hidden/kernel"):
    matrix = found[key].reshape(-1, found[key].shape[-1])
    gram = (
      matrix.T @ matrix
      if len(matrix) >= matrix.shape[1]
      else (matrix @ matrix.T)
    )
    scale = gram[0, 0]
    np.testing.assert_allclose(gram / scale, np.eye(len(gram)), atol=1e-4)


def test_seeds_differ_and_repeat(tiled):
  first, again, other = (
    break_symmetry(SPEC, tiled, "noise", seed)["stem/kernel"]
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert not np.allclose(first, other)


def test_unknown_ways_are_refused(tiled):
  with pytest.raises(QinitError, match="orthogonal"):
    break_symmetry(SPEC, tiled, "orthogonl", 0)
  assert list(CHANGES) == ["none", "noise", "orthogonal"]
