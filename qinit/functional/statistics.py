"""Moving statistics for networks that have none: predicted and fresh ones."""

from collections.abc import Iterable, Mapping

import tensorflow as tf

from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.spec import NetSpec


def estimate_moving_stats(
  spec: NetSpec, params: Mapping, batches: Iterable
) -> dict:
  """`params` with the mean and variance of every BatchNorm's input.

  Each batch runs with its own statistics. The estimate is that of all batches
  pooled: mean = E[m], variance = E[v] + E[m^2] - E[m]^2 for the batches' means
  m and variances v.

  Args:
    batches: images [B, H, W, C], of about one size.
  """
  norms = {
    n.name: n.inputs[0] for n in spec.nodes if isinstance(n.op, ops.BatchNorm)
  }
  moments = _moments(spec, params, set(norms.values()))
  totals: dict[str, tuple] = {}
  count = 0
  for images in batches:
    found = moments(tf.convert_to_tensor(images))
    totals = tf.nest.map_structure(tf.add, totals, found) if totals else found
    count += 1
  if not count:
    raise ValueError("estimating the statistics needs at least one batch")
  estimated = dict(params)
  for norm, source in norms.items():
    mean, variance, square = (t / count for t in totals[source])
    estimated[f"{norm}/moving_mean"] = mean
    estimated[f"{norm}/moving_variance"] = variance + square - mean**2
  return estimated


def _moments(spec, params, sources):
  """A function from a batch to (m, v, m^2) of each tensor in `sources`."""

  @tf.function(reduce_retracing=True, autograph=False)
  def run(images):
    found = {}

    def tap(kind, name, tensor):
      if kind == "activation" and name in sources:
        mean, variance = tf.nn.moments(
          tensor, list(range(tensor.shape.rank - 1))
        )
        found[name] = (mean, variance, mean**2)
      return tensor

    forward(spec, params, images, tap)
    return found

  return run
