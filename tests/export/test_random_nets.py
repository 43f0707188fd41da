"""Fold, quantise, export, run: a verified file or a typed error, whatever the
network."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qinit.errors import QinitError
from qinit.export import runtime, tflite
from qinit.quant.integer import IntegerNetwork
from qinit.quant.scheme import Scheme
from tests import quant_nets
from tests.random_nets import specs

WIDTHS = st.sampled_from([(8, 8), (4, 4), (4, 8), (2, 2), (3, 5), (8, 2)])
SEEDS = st.integers(0, 99)


def outcome(spec, widths, seed):
  """How exporting ends: the parity with LiteRT and the number of distinct
  codes, or the error's sentence."""
  params = quant_nets.random_params(spec, seed)
  images = quant_nets.images(spec, 16, seed)
  try:
    job = quant_nets.job(spec, params, images, Scheme(*widths, 1.0))
    network = IntegerNetwork(*job.args)
    model = tflite.lower(network.quantized, batch_size=16)
    codes = len(np.unique(network.output_codes(images)))
    return runtime.compare(model, network, images), codes
  except QinitError as error:
    return str(error)


def check(spec, widths, seed):
  found = outcome(spec, widths, seed)
  if isinstance(found, str):
    assert "\n" not in found and "'" in found
  else:
    assert found[0].equal == 100, found


@settings(
  max_examples=60,
  deadline=None,
  derandomize=True,
  suppress_health_check=list(HealthCheck),
)
@given(st.booleans().flatmap(specs), WIDTHS, SEEDS)
def test_random_networks(spec, widths, seed):
  check(spec, widths, seed)


@pytest.mark.long
@settings(
  max_examples=300, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.booleans().flatmap(specs), WIDTHS, SEEDS)
def test_many_random_networks(spec, widths, seed):
  check(spec, widths, seed)


def test_most_random_networks_become_live_files():
  """The property would hold if all were refused or dead: how many are not?"""
  codes = []

  @settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
  )
  @given(specs())
  def collect(spec):
    found = outcome(spec, (8, 8), 0)
    codes.append(0 if isinstance(found, str) else found[1])

  collect()
  assert np.mean(np.array(codes) >= 32) > 0.3
