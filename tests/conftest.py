"""Fixtures that several folders of tests share."""

import numpy as np
import pytest

from qinit.archs import zoo
from qinit.params.initializers import initial_params


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture(scope="session")
def lively():
  """Maps an architecture to (spec, params): a narrow net of the zoo with
  random BatchNorm parameters and biases, so that none of them drops out."""

  def build(arch, width=0.125, input_shape=(16, 16, 3)):
    spec = zoo.build(arch, width, input_shape=input_shape)
    return spec, enlivened(spec)

  return build


def enlivened(spec, seed=3):
  """He uniform kernels, everything else random."""
  rng = np.random.default_rng(seed)
  params = initial_params(spec, "he_uniform", seed)
  for key, value in params.items():
    role = key.rsplit("/", 1)[1]
    if role in ("gamma", "moving_variance"):
      value[:] = rng.uniform(0.5, 1.5, value.shape)
    elif role in ("beta", "moving_mean", "bias"):
      value[:] = rng.normal(0, 0.2, value.shape)
  return params
