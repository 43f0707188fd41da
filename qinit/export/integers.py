"""Quantised networks as TensorFlow Lite operators on integers."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qinit.errors import ExportError
from qinit.export.operators import Lowering
from qinit.graph import ops
from qinit.quant.quantized import QuantizedNetwork


class IntegerLowering(Lowering):
  """UINT8 tensors and INT32 biases.

  Codes of n < 8 bits lie at the top of the byte, Z' = Z + 255 - (2^n - 1):
  saturation then clips them above and a fused ReLU below. Where there is no
  ReLU, MAXIMUM clips below.

  Args:
    packed: INT4 kernels, which need signed activations: codes and zero points
      then lie 128 lower, in INT8.
  """

  def __init__(
    self, network: QuantizedNetwork, batch_size: int, packed: bool = False
  ):
    self.network = network
    self.packed, self.offset = packed, 128 if packed else 0
    dtype = np.int8 if packed else np.uint8
    super().__init__(network.placement, batch_size, dtype)

  def _add_group(self, group):
    affine = self.network.affines[group.name]
    if affine.bits == 8 or not self._reaches_below(group):
      super()._add_group(group)
      return
    zero_point = affine.stored_zero_point - self.offset
    lowest = np.array(zero_point - affine.zero_point, self.model.dtype)
    limit = self.model.constant(
      f"{group.name}.least", lowest, affine.scale, zero_point
    )
    self._add_clipped(group, schema.BuiltinOperator.MAXIMUM, limit)

  def _reaches_below(self, group):
    """Whether codes below the lowest one can come out, which saturation does
    not clip: not of a ReLU, nor of averages and sums of what is never
    negative."""
    if group.relu or not group.rounds or isinstance(group.op, ops.Pool):
      return False
    if group.kernel:
      return True
    affines = (self.network.affines[name] for name in group.inputs)
    return any(affine.zero_point for affine in affines)

  def _zero(self, group):
    affine = self.network.affines[group.name]
    shape = (self.batch_size, *self.shapes[group.name])
    zero_point = affine.stored_zero_point - self.offset
    zeros = np.full(shape, zero_point, self.model.dtype)
    self.model.constant(group.name, zeros, affine.scale, zero_point)

  def _weights(self, group, order):
    """Kernel, its axes in this order, and bias; the bias has the scale s_x s_w
    and zero point 0."""
    weights = self.network.weights[group.name]
    codes = weights.codes.transpose(order)
    kernel, node = weights.affine, group.node.name
    scale = self.network.affines[group.inputs[0]].scale * kernel.scale
    return [
      self._kernel(f"{node}/kernel", codes, kernel),
      self.model.constant(f"{node}/bias", weights.bias, scale),
    ]

  def _kernel(self, name, codes, affine):
    if not self.packed:
      return self.model.constant(name, codes, affine.scale, affine.zero_point)
    values = codes.astype(np.int16) - affine.zero_point
    if values.min() < -8 or values.max() > 7:
      raise ExportError(
        f"{name!r} does not fit into INT4, which has a zero point of 0 and -8"
        " to 7: train with `lsq` or `tqt` at up to 4 bits, or export unpacked"
      )
    return self.model.packed(name, values, affine.scale)

  def _activation(self, name, owner, shape):
    affine = self.network.affines[owner]
    shape = (self.batch_size, *shape)
    zero_point = affine.stored_zero_point - self.offset
    return self.model.tensor(name, shape, affine.scale, zero_point)

  def _fused(self, group):
    """A ceiling is where the codes end: nothing has to be said of it."""
    functions = schema.ActivationFunctionType
    return functions.RELU if group.relu else functions.NONE
