"""A trained float network, quantised without further training."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from qinit.errors import one_of
from qinit.functional.forward import forward
from qinit.graph.rewrite import fold_batch_norm
from qinit.graph.spec import NetSpec
from qinit.quant.adaround import adaround
from qinit.quant.bias_correction import correct_biases
from qinit.quant.deployed import Deployed
from qinit.quant.equalise import equalise
from qinit.quant.integer import IntegerNetwork
from qinit.quant.ranges import calibrate
from qinit.quant.scheme import Scheme
from qinit.study.quantise import INPUT_RANGE

METHODS = ("ptq", "ptq_cle", "ptq_bias", "ptq_adaround")
_BATCH, _ADAROUND_IMAGES = 128, 256


def quantise(
  method: str,
  spec: NetSpec,
  params: Mapping,
  scheme: Scheme,
  images: np.ndarray,
) -> Deployed:
  """Folds, changes the parameters as `method` says, and calibrates.

  Args:
    method: "ptq" changes nothing, "ptq_cle" equalises the layers' ranges,
      "ptq_bias" corrects biases, "ptq_adaround" learns the rounding.
    images: for calibration, [N, H, W, C].

  Raises:
    QinitError: for another method.
    QuantError: if the network cannot be quantised.
  """
  one_of("method", method, METHODS)
  spec, params = fold_batch_norm(spec, params)
  if method == "ptq_cle":
    params = equalise(spec, params)
  ranges = calibrate(spec, params, _batches(images), scheme, INPUT_RANGE)
  if method == "ptq_bias":
    params = correct_biases(spec, params, ranges, scheme, images)
  if method == "ptq_adaround":
    some = images[:_ADAROUND_IMAGES]
    params, ranges = adaround(spec, params, ranges, scheme, some)
  return Deployed(spec, params, ranges, scheme)


def float_logits(job: Deployed, images: np.ndarray) -> np.ndarray:
  """Logits [N, classes] of the folded network, nothing rounded."""

  @tf.function(reduce_retracing=True, autograph=False)
  def run(batch):
    return forward(job.spec, job.params, batch)

  return np.concatenate([run(batch).numpy() for batch in _batches(images)])


def quantised_logits(job: Deployed, images: np.ndarray) -> np.ndarray:
  """Logits [N, classes] of the integer simulator, and so of the exported
  file."""
  network = IntegerNetwork(job.spec, job.params, job.ranges, job.scheme)
  return network.logits(images)


def equal_codes(job: Deployed, logits: np.ndarray, images: np.ndarray) -> float:
  """Percent of the output codes of a graph with these `logits` that equal
  those of the integer simulator, and so of the exported file."""
  network = IntegerNetwork(job.spec, job.params, job.ranges, job.scheme)
  codes = network.affines[network.placement.output].quantize(logits)
  return 100 * float(np.mean(codes == network.output_codes(images)))


def _batches(images):
  return [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
