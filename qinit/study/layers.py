"""Statistics of every layer of a quantised network, weights and activations."""

from collections.abc import Iterable, Mapping

import numpy as np

from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.spec import INPUT
from qinit.quant.quantized import QuantizedNetwork, kernel_range
from qinit.quant.scheme import Ranges
from qinit.stats.distribution import Histogram
from qinit.stats.layerwise import LayerRow
from qinit.stats.streaming import LayerStats
from qinit.stats.tensor import by_channel


def layer_statistics(
  network: QuantizedNetwork,
  params: Mapping,
  ranges: Ranges,
  batches: Iterable[np.ndarray],
  clip_percentile: float,
) -> tuple[list[LayerRow], dict[tuple[str, str], Histogram]]:
  """Rows and distributions of the BN-folded weights and of the activations.

  Each tensor is compared with its own quantisation: what is lost at this
  layer, not what earlier ones lost.

  Args:
    network: the codes and their quantisations.
    params: the folded float parameters.
    ranges: those that the network was quantised over.
    batches: images [B, H, W, C] on which activations are measured.
  """
  stats = {("weight", name): s for name, s in _weights(network, params, ranges)}
  stats |= _activations(network, params, batches, clip_percentile)
  rows, distributions, counts = [], {}, {"weight": 0, "activation": 0}
  for (kind, name), one in stats.items():
    rows.append(one.result(counts[kind], name, kind))
    distributions[kind, name] = one.distribution()
    counts[kind] += 1
  return rows, distributions


def _weights(network, params, ranges):
  for group in network.placement.groups:
    if not group.kernel:
      continue
    kernel = np.asarray(params[group.kernel])
    weights = network.weights[group.name]
    dequantised = weights.affine.dequantize(weights.codes)
    depthwise = isinstance(group.op, ops.DepthwiseConv)
    stats = LayerStats(*_bounds(*kernel_range(group, kernel, ranges)))
    stats.update(
      by_channel(kernel, depthwise), by_channel(dequantised, depthwise)
    )
    yield group.node.name, stats


def _activations(network, params, batches, clip_percentile):
  placement = network.placement
  stats = {}
  for name in (INPUT, *(g.name for g in placement.groups if g.rounds)):
    clip = 0.0 if placement.absolute(name) else clip_percentile
    bounds = (float(end) for end in network.affines[name].range)
    stats["activation", name] = LayerStats(*bounds, clip)

  def tap(kind, name, tensor):
    if kind != "weight" and ("activation", name) in stats:
      values, affine = np.asarray(tensor), network.affines[name]
      rounded = affine.dequantize(affine.quantize(values))
      stats["activation", name].update(values, rounded)
    return tensor

  for images in batches:
    forward(placement.spec, params, images, tap)
  return stats


def _bounds(lo, hi):
  return min(float(lo), 0.0), max(float(hi), 0.0)
