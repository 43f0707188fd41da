"""Keeps ranges to what XNNPACK can run.

A tensor that is all but dead makes multipliers that XNNPACK refuses, and the
whole file with them, or an addend too small for it, which then runs in other
kernels. Such a range is widened; the few values in it are nearly 0 either way.
"""

from collections.abc import Mapping

import numpy as np

from qinit.graph import ops
from qinit.quant.placement import Group, Placement
from qinit.quant.quantized import kernel_affine
from qinit.quant.scheme import Ranges, Scheme

# XNNPACK: s_x s_w / s_y < 2^8, and 2^-10 <= s_x / s_y < 2^8 for an addend.
_LARGEST_MULTIPLIER = 2.0**7
_SMALLEST_ADDEND = 2.0**-9


def widen(
  placement: Placement, params: Mapping, ranges: Ranges, scheme: Scheme
) -> Ranges:
  """The ranges, the too narrow ones widened about 0."""
  ranges = dict(ranges)

  def scale(tensor):
    lo, hi = ranges[placement.owner[tensor]]
    return (hi - lo) / _levels(placement, tensor, scheme)

  def at_least(tensor, least):
    if scale(tensor) < least:
      name, now = placement.owner[tensor], scale(tensor)
      lo, hi = ranges[name] if now else (0.0, 1.0)
      width = least * _levels(placement, tensor, scheme)
      ranges[name] = (lo * width / (hi - lo), hi * width / (hi - lo))

  for group in placement.groups:
    largest = max((scale(i) for i in group.inputs), default=0.0)
    largest *= _weight_scale(group, params, ranges, scheme)
    at_least(group.name, largest / _LARGEST_MULTIPLIER)
  for group in reversed(placement.groups):
    if isinstance(group.op, ops.Add):
      for addend in group.inputs:
        at_least(addend, scale(group.name) * _SMALLEST_ADDEND)
  return ranges


def _weight_scale(group: Group, params, ranges, scheme):
  if not group.kernel:
    return 1.0
  kernel = np.asarray(params[group.kernel])
  return float(kernel_affine(group, kernel, ranges, scheme).scale)


def _levels(placement, tensor, scheme):
  return 2 ** placement.bits(tensor, scheme) - 1
