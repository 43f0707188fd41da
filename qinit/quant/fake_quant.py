"""The fake-quant graph: float arithmetic on quantised values."""

import tensorflow as tf

from qinit.graph.spec import INPUT
from qinit.quant.affine import (
  Affine,
  fake_quant,
  round_half_up,
  straight_through,
)
from qinit.quant.placement import Placement
from qinit.quant.quantized import tensor_affines
from qinit.quant.scheme import Ranges, Scheme


class FakeQuant:
  """A tap for `functional.forward` on `placement.spec`.

  Kernels are quantised over the range under their key, by default their own
  minimum and maximum, biases to the int32 grid s_x s_w, activations at their
  points. Gradients go straight through; those of activations stop where the
  range clips.

  Args:
    params: the tensors that `forward` is given; each bias needs the scale of
      its kernel.
  """

  def __init__(
    self, placement: Placement, params, ranges: Ranges, scheme: Scheme
  ):
    self.params, self.ranges, self.scheme = params, ranges, scheme
    self.affines = tensor_affines(placement, ranges, scheme)
    self.rounded = {INPUT, *(g.name for g in placement.groups if g.rounds)}
    linear = [g for g in placement.groups if g.kernel]
    self.kernels = {g.kernel for g in linear}
    self.biases = {g.bias: g for g in linear}

  def __call__(self, kind, name, tensor):
    if kind == "weight":
      return self._weight(name, tensor)
    if name not in self.rounded:
      return tensor
    return fake_quant(tensor, self.affines[name], clipped=True)

  def _weight(self, key, tensor):
    if key in self.kernels:
      return fake_quant(tensor, self._kernel_affine(key))
    group = self.biases[key]
    scale = self.affines[group.inputs[0]].scale
    scale *= self._kernel_affine(group.kernel).scale
    return straight_through(tensor, round_half_up(tensor / scale) * scale)

  def _kernel_affine(self, key):
    if key in self.ranges:
      return Affine.from_range(*self.ranges[key], self.scheme.weight_bits)
    return Affine.of_tensor(
      tf.convert_to_tensor(self.params[key]), self.scheme.weight_bits
    )
