"""Bias correction (Data-Free Quantization, Nagel et al. 2019, Section 4.2).

Rounding weights and activations shifts the mean of what a layer computes; the
bias can take the shift back.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from qinit.functional.forward import forward
from qinit.graph.spec import NetSpec
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.placement import place
from qinit.quant.scheme import Ranges, Scheme

_BATCH = 128


def correct_biases(
  spec: NetSpec,
  params: Mapping,
  ranges: Ranges,
  scheme: Scheme,
  images: np.ndarray,
) -> dict:
  """Parameters with b + E[y] - E[y_q] for every bias, layer after layer: y_q
  is computed with the biases before it corrected. Layers without a bias stay.

  Args:
    spec: with its BatchNorms folded, and its `params`.
    images: [N, H, W, C], for the means.
  """
  placement = place(spec)
  params = {key: np.array(value) for key, value in params.items()}
  linear = [g for g in placement.groups if g.bias in params and g.kernel]
  names = [g.node.name for g in linear]
  wanted = _means(placement, params, names, images)

  @tf.function(autograph=False)
  def quantised(batch, tensors):
    tap = FakeQuant(placement, tensors, ranges, scheme)
    return _outputs(placement.spec, tensors, batch, names, tap)

  for group in linear:
    found = _average(lambda x: quantised(x, params), images)
    name = group.node.name
    params[group.bias] = params[group.bias] + wanted[name] - found[name]
  return params


def _means(placement, params, names, images):
  @tf.function(autograph=False)
  def run(batch):
    return _outputs(placement.spec, params, batch, names)

  return _average(run, images)


def _outputs(spec, params, batch, names, inner=None):
  """Mean by channel of what each linear node puts out, its ReLU not run."""
  found = {}

  def tap(kind, name, tensor):
    if kind == "activation" and name in names:
      found[name] = tf.reduce_mean(tensor, list(range(len(tensor.shape) - 1)))
    return tensor if inner is None else inner(kind, name, tensor)

  forward(spec, params, batch, tap)
  return found


def _average(run, images):
  """Averages over batches, each weighted with its images."""
  totals = {}
  for start in range(0, len(images), _BATCH):
    batch = images[start : start + _BATCH]
    for name, mean in run(tf.constant(batch)).items():
      totals[name] = totals.get(name, 0.0) + mean.numpy() * len(batch)
  return {name: total / len(images) for name, total in totals.items()}
