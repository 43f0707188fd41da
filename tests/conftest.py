"""Fixtures that several folders of tests share."""

import gc

import numpy as np
import pytest
import tf_keras
from hypothesis import settings

from qinit.archs import zoo
from tests.quant_nets import random_params

# A busy machine is no defect of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items):
  """The longest file first, so that no process waits for it in the end."""
  items.sort(key=lambda item: item.path.name != "test_kill.py")


@pytest.fixture(autouse=True, scope="module")
def no_leftovers():
  """Traced functions hold their models in cycles: gigabytes over the suite.
  What is left after a module stays: it need not be looked through again."""
  yield
  tf_keras.backend.clear_session()
  gc.collect()
  gc.freeze()


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
