"""Post-training quantisation, and what its logits are."""

import numpy as np
import pytest

from qinit.study import ptq
from tests import quant_nets


@pytest.mark.parametrize("method", ptq.METHODS)
def test_quantised_logits_are_those_of_the_file(method):
  spec = quant_nets.cell()
  images = np.abs(quant_nets.images(spec, 32)) / 2  # in [0, 1]
  params = quant_nets.random_params(spec)
  job = ptq.quantise(method, spec, params, quant_nets.Scheme(8, 8), images)
  logits = ptq.quantised_logits(job, images)
  assert ptq.equal_codes(job, logits, images) == 100
  # Eight bits cost little.
  error = np.abs(logits - ptq.float_logits(job, images)).mean()
  assert error < 0.1 * np.ptp(logits)
