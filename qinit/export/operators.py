"""Groups of a quantised network as TensorFlow Lite operators."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qinit.errors import ExportError
from qinit.export.flatbuffer import ModelBuilder
from qinit.graph import ops, padding
from qinit.graph.spec import INPUT
from qinit.quant.placement import Group
from qinit.quant.quantized import QuantizedNetwork

_CODE = schema.BuiltinOperator


class Lowering:
  """Adds the groups of a network to a model, one after the other.

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
    self.batch_size = batch_size
    self.packed, self.offset = packed, 128 if packed else 0
    self.shapes = network.placement.spec.shapes()
    self.model = ModelBuilder(np.int8 if packed else np.uint8)
    self._activation(INPUT, INPUT, self.shapes[INPUT])

  def add(self, group: Group) -> None:
    """Adds a group; what it reads has to be there."""
    if isinstance(group.op, ops.Zero):
      self._zero(group)
      return
    affine = self.network.affines[group.name]
    clipped = affine.bits < 8 and self._reaches_below(group)
    name = f"{group.name}.raw" if clipped else group.name
    output = self._activation(name, group.name, self.shapes[group.name])
    inputs = [self.model.index[i] for i in group.inputs]
    getattr(self, f"_{group.op.name}")(group, inputs, output)
    if clipped:
      self._maximum(group, output, affine)

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

  def _conv(self, group, inputs, output):
    codes = self.network.weights[group.name].codes.transpose(3, 0, 1, 2)
    options = schema.Conv2DOptionsT()
    self._convolve(group, inputs, output, codes, _CODE.CONV_2D, options)

  def _depthwise_conv(self, group, inputs, output):
    codes = self.network.weights[group.name].codes.transpose(3, 0, 1, 2)
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier = 1
    code = _CODE.DEPTHWISE_CONV_2D
    self._convolve(group, inputs, output, codes, code, options)

  def _convolve(self, group, inputs, output, codes, code, options):
    op = group.op
    inputs, options.padding = self._padded(group, inputs)
    options.strideH, options.strideW = op.strides
    options.dilationHFactor = options.dilationWFactor = op.dilation
    options.fusedActivationFunction = _activation(group)
    self.model.operator(
      code, inputs + self._weights(group, codes), output, options
    )

  def _dense(self, group, inputs, output):
    codes = self.network.weights[group.name].codes.transpose()
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = _activation(group)
    inputs = inputs + self._weights(group, codes)
    self.model.operator(_CODE.FULLY_CONNECTED, inputs, output, options)

  def _add(self, group, inputs, output):
    options = schema.AddOptionsT()
    options.fusedActivationFunction = _activation(group)
    self.model.operator(_CODE.ADD, inputs, output, options)

  def _relu(self, group, inputs, output):
    self.model.operator(_CODE.RELU, inputs, output)

  def _pool(self, group, inputs, output):
    op = group.op
    strided = op.padding == "symmetric" and op.stride > 1
    target = output
    if strided:
      shape = self.shapes[group.inputs[0]]
      target = self._activation(f"{group.name}.all", group.name, shape)
    options = schema.Pool2DOptionsT()
    options.filterHeight = options.filterWidth = op.size
    options.strideH = options.strideW = 1 if strided else op.stride
    options.padding = schema.Padding.SAME
    code = _CODE.MAX_POOL_2D if op.kind == "max" else _CODE.AVERAGE_POOL_2D
    self.model.operator(code, inputs, target, options)
    if strided:
      self._stride(group, [target], output, 0)

  def _slice(self, group, inputs, output):
    self._stride(group, inputs, output, group.op.offset)

  def _stride(self, group, inputs, output, offset):
    stride = group.op.stride
    limits = [
      self._shape(group, "begin", [0, offset, offset, 0]),
      self._shape(group, "end", [0, 0, 0, 0]),
      self._shape(group, "strides", [1, stride, stride, 1]),
    ]
    options = schema.StridedSliceOptionsT()
    options.endMask = 0b1111  # `end` counts for no axis
    self.model.operator(_CODE.STRIDED_SLICE, inputs + limits, output, options)

  def _concat(self, group, inputs, output):
    options = schema.ConcatenationOptionsT()
    options.axis = len(self.shapes[group.name])
    self.model.operator(_CODE.CONCATENATION, inputs, output, options)

  def _global_pool(self, group, inputs, output):
    axes = self._shape(group, "axes", [1, 2])
    options = schema.ReducerOptionsT()
    self.model.operator(_CODE.MEAN, [*inputs, axes], output, options)

  def _flatten(self, group, inputs, output):
    if group.op.order == "chw":
      inputs = [self._channels_first(group, inputs)]
    options = schema.ReshapeOptionsT()
    options.newShape = [-1, *self.shapes[group.name]]
    shape = self._shape(group, "shape", options.newShape)
    self.model.operator(_CODE.RESHAPE, [*inputs, shape], output, options)

  def _channels_first(self, group, inputs):
    h, w, c = self.shapes[group.inputs[0]]
    output = self._activation(f"{group.name}.chw", group.name, (c, h, w))
    order = self._shape(group, "order", [0, 3, 1, 2])
    options = schema.TransposeOptionsT()
    self.model.operator(_CODE.TRANSPOSE, [*inputs, order], output, options)
    return output

  def _zero(self, group):
    affine = self.network.affines[group.name]
    shape = (self.batch_size, *self.shapes[group.name])
    zero_point = affine.stored_zero_point - self.offset
    zeros = np.full(shape, zero_point, self.model.dtype)
    self.model.constant(group.name, zeros, affine.scale, zero_point)

  def _maximum(self, group, raw, affine):
    zero_point = affine.stored_zero_point - self.offset
    lowest = np.array(zero_point - affine.zero_point, self.model.dtype)
    least = self.model.constant(
      f"{group.name}.least", lowest, affine.scale, zero_point
    )
    output = self._activation(group.name, group.name, self.shapes[group.name])
    options = schema.MaximumMinimumOptionsT()
    self.model.operator(_CODE.MAXIMUM, [raw, least], output, options)

  def _padded(self, group, inputs):
    """The inputs, behind a PAD where TFLite has no padding of that kind."""
    shape = self.shapes[group.inputs[0]]
    pads, same = _pads(group.op, shape)
    if not np.any(pads):  # XNNPACK: SAME is wrong where stride > kernel
      return inputs, schema.Padding.VALID
    if pads == same:
      return inputs, schema.Padding.SAME
    amounts = np.array([(0, 0), *pads, (0, 0)], np.int32)
    padded = [n + sum(p) for n, p in zip(shape, amounts[1:], strict=True)]
    output = self._activation(f"{group.name}.pad", group.inputs[0], padded)
    paddings = self.model.constant(f"{group.name}.paddings", amounts)
    options = schema.PadOptionsT()
    self.model.operator(_CODE.PAD, [*inputs, paddings], output, options)
    return [output], schema.Padding.VALID

  def _weights(self, group, codes):
    """Kernel and bias; the bias has the scale s_x s_w and zero point 0."""
    weights = self.network.weights[group.name]
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

  def _activation(self, name, quantized_as, shape):
    affine = self.network.affines[quantized_as]
    shape = (self.batch_size, *shape)
    zero_point = affine.stored_zero_point - self.offset
    return self.model.tensor(name, shape, affine.scale, zero_point)

  def _shape(self, group, what, values):
    return self.model.constant(
      f"{group.name}.{what}", np.array(values, np.int32)
    )


def _activation(group):
  functions = schema.ActivationFunctionType
  return functions.RELU if group.relu else functions.NONE


def _pads(op, shape):
  """Pixels (before, after) in height and width: as `op` has it, and SAME's."""
  same, symmetric = padding.amounts(
    shape[:2], op.kernel_size, op.strides, op.dilation
  )
  own = op.padding == "symmetric" and op.strides != (1, 1)
  return (symmetric if own else same), same
