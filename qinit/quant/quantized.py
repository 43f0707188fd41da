"""A network in integers: the codes that simulator and file have in common."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from qinit.errors import QuantError
from qinit.graph.spec import INPUT, NetSpec
from qinit.quant.affine import Affine, round_half_up
from qinit.quant.placement import Group, Placement, place
from qinit.quant.scheme import Ranges, Scheme

_INT32 = np.iinfo(np.int32)


@dataclasses.dataclass(frozen=True)
class Weights:
  """A group's kernel codes (uint8, TF's layout), their quantisation, and its
  bias in units of input scale times kernel scale (int32)."""

  codes: np.ndarray
  affine: Affine
  bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class QuantizedNetwork:
  """Quantisations by tensor and weights by group."""

  placement: Placement
  affines: dict[str, Affine]
  weights: dict[str, Weights]

  def multiplier(self, group: Group) -> np.float32:
    """s_x s_w / s_y, which takes the accumulator to codes of the output; in
    float32 from left to right, as the runtime computes it."""
    weight = self.weights[group.name].affine.scale
    x, y = self.affines[group.inputs[0]], self.affines[group.name]
    return x.scale * weight / y.scale


def quantize(
  spec: NetSpec, params: Mapping, ranges: Ranges, scheme: Scheme
) -> QuantizedNetwork:
  """Quantises weights and biases, and every tensor by its range.

  Raises:
    QuantError: for a network without quantisation points, a range that is
      missing, or weights that are not finite.
  """
  placement = place(spec)
  affines = tensor_affines(placement, ranges, scheme)
  weights = {
    g.name: _weights(g, params, affines[g.inputs[0]].scale, ranges, scheme)
    for g in placement.groups
    if g.kernel
  }
  return QuantizedNetwork(placement, affines, weights)


def tensor_affines(
  placement: Placement, ranges: Ranges, scheme: Scheme
) -> dict[str, Affine]:
  """The quantisation of the input and of every group's output."""
  points = {}
  for name in placement.points:
    if name not in ranges:
      raise QuantError(f"no range for {name!r}: calibrate this network")
    bits = placement.bits(name, scheme)
    points[name] = Affine.from_range(*ranges[name], bits)
  for group in placement.groups:
    _check_ceiling(placement, group, points[placement.owner[group.name]])
  tensors = (INPUT, *(g.name for g in placement.groups))
  return {t: points[placement.owner[t]] for t in tensors}


def _check_ceiling(placement, group, affine):
  """A ceiling is where the codes end; beyond it none may be left."""
  ceiling, hi = placement.ceiling(group), float(affine.range[1])
  if ceiling and hi > ceiling + affine.scale / 2:
    raise QuantError(
      f"{group.name!r} clips at {ceiling} but has the range of"
      f" {placement.owner[group.name]!r}, which reaches {hi:.3g}: give it a"
      " convolution of its own before the two meet, or a learned range less"
      " wide"
    )


def bias_codes(bias, scale) -> np.ndarray:
  """int32 codes of a bias, b / scale rounded; zero point 0."""
  codes = round_half_up(np.asarray(bias, np.float64) / np.float64(scale))
  return np.clip(codes, _INT32.min, _INT32.max).astype(np.int32)


def kernel_range(group: Group, kernel, ranges: Ranges):
  """Over what a kernel is quantised: the range under its key, which training
  may have learned, else its own minimum and maximum."""
  return ranges.get(group.kernel, (kernel.min(), kernel.max()))


def kernel_affine(group: Group, kernel, ranges: Ranges, scheme: Scheme):
  """The quantisation of a kernel over its `kernel_range`."""
  lo, hi = kernel_range(group, kernel, ranges)
  return Affine.from_range(lo, hi, scheme.weight_bits)


def _weights(group, params, input_scale, ranges, scheme):
  kernel = np.asarray(params[group.kernel])
  bias = np.asarray(params.get(group.bias, np.zeros(_channels(group, kernel))))
  if not np.isfinite(kernel).all() or not np.isfinite(bias).all():
    raise QuantError(f"the weights of {group.node.name!r} are not finite")
  affine = kernel_affine(group, kernel, ranges, scheme)
  scale = np.float64(input_scale) * np.float64(affine.scale)
  return Weights(affine.quantize(kernel), affine, bias_codes(bias, scale))


def _channels(group, kernel):
  depthwise = group.kernel.endswith("depthwise_kernel")
  return kernel.shape[-2] if depthwise else kernel.shape[-1]
