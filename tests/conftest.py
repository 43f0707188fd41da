"""Fixtures that several folders of tests share."""

import numpy as np
import pytest

from qinit.archs import zoo
from tests.quant_nets import random_params


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture(scope="session")
def lively():
  """Maps an architecture to (spec, params): a narrow net of the zoo with
  random BatchNorm parameters and biases, so that none of them drops out."""

  def build(arch, width=0.125, input_shape=(16, 16, 3)):
    spec = zoo.build(arch, width, input_shape=input_shape)
    return spec, random_params(spec, seed=3)

  return build
