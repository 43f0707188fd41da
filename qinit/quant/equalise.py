"""Cross-layer equalisation (Data-Free Quantization, Nagel et al. 2019).

A ReLU scales: relu(s x) = s relu(x) for s > 0. So a factor per channel can move
from one layer's kernel to the next without changing the network, and per-tensor
ranges get better used.
"""

from collections.abc import Mapping

import numpy as np

from qinit.graph import ops
from qinit.graph.spec import NetSpec
from qinit.quant.placement import Group, Placement, place

_SWEEPS, _LEAST = 20, 1e-8


def equalise(spec: NetSpec, params: Mapping) -> dict:
  """Parameters of the same function with equal channel ranges.

  For neighbours with ranges r1, r2 of channel i:  s_i = sqrt(r1_i / r2_i),
  W1_i / s_i, b1_i / s_i, W2_i s_i (Eq. 11), in sweeps over all neighbours. A
  channel that one of the two does not use stays as it is.

  Args:
    spec: with its BatchNorms folded, and its `params`.

  Raises:
    QuantError: if a BatchNorm is left.
  """
  params = {key: np.array(value) for key, value in params.items()}
  pairs = neighbours(place(spec))
  for _ in range(_SWEEPS):
    for first, second in pairs:
      _equalise(first, second, params)
  return params


def neighbours(placement: Placement) -> list[tuple[Group, Group]]:
  """Linear groups whose output a second one alone reads, through a ReLU
  without ceiling or nothing."""
  readers: dict[str, list[Group]] = {}
  for group in placement.groups:
    for name in group.inputs:
      readers.setdefault(name, []).append(group)
  return [
    (group, readers[group.name][0])
    for group in placement.groups
    if group.kernel
    and not placement.ceiling(group)
    and len(readers.get(group.name, ())) == 1
    and readers[group.name][0].kernel
  ]


def _equalise(first, second, params):
  out, into = _output_axis(first), _input_axis(second)
  r1 = _ranges(params[first.kernel], out)
  r2 = _ranges(params[second.kernel], into)
  used = (r1 > _LEAST) & (r2 > _LEAST)
  s = np.sqrt(np.where(used, r1, 1) / np.where(used, r2, 1))
  s = s.astype(np.float32)
  params[first.kernel] /= _along(s, params[first.kernel], out)
  params[second.kernel] *= _along(s, params[second.kernel], into)
  if first.bias in params:
    params[first.bias] /= s


def _output_axis(group):
  return 2 if isinstance(group.op, ops.DepthwiseConv) else -1


def _input_axis(group):
  return 0 if isinstance(group.op, ops.Dense) else 2


def _ranges(kernel, axis):
  """Largest magnitude by channel."""
  return (
    np.abs(np.moveaxis(kernel, axis, 0)).reshape(kernel.shape[axis], -1).max(1)
  )


def _along(values, kernel, axis):
  shape = [1] * kernel.ndim
  shape[axis] = -1
  return values.reshape(shape)
