"""Groups of a network as TensorFlow Lite operators, whatever their numbers."""

import abc

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qinit.export.flatbuffer import ModelBuilder
from qinit.graph import ops, padding
from qinit.graph.spec import INPUT
from qinit.quant.placement import Group, Placement

_CODE = schema.BuiltinOperator


class Lowering(abc.ABC):
  """Adds the groups of a network to a model, one after the other.

  Args:
    batch_size: of the file's input.
    dtype: of its activations.
  """

  def __init__(self, placement: Placement, batch_size: int, dtype):
    self.placement, self.batch_size = placement, batch_size
    self.shapes = placement.spec.shapes()
    self.model = ModelBuilder(dtype)
    self._activation(INPUT, INPUT, self.shapes[INPUT])

  def lower(self) -> bytes:
    """The file's bytes."""
    for group in self.placement.groups:
      if isinstance(group.op, ops.Zero):
        self._zero(group)
      else:
        self._add_group(group)
    return self.model.pack([INPUT], [self.placement.output])

  @abc.abstractmethod
  def _activation(self, name: str, owner: str, shape) -> int:
    """Adds a tensor [B, *shape] that is quantised as the tensor `owner`."""

  @abc.abstractmethod
  def _weights(self, group: Group, order: tuple[int, ...]) -> list[int]:
    """Adds the kernel, its axes in this order, and the bias."""

  @abc.abstractmethod
  def _zero(self, group: Group) -> None:
    """Adds an absent state, a tensor of zeros."""

  @abc.abstractmethod
  def _fused(self, group: Group) -> int:
    """The activation function of a group's operator."""

  def _add_group(self, group):
    """What it reads has been added before."""
    output = self._activation(group.name, group.name, self.shapes[group.name])
    self._operator(group, output)

  def _add_clipped(self, group, code, limit):
    """The group, and MINIMUM or MAXIMUM with the constant `limit`."""
    shape = self.shapes[group.name]
    raw = self._activation(f"{group.name}.raw", group.name, shape)
    self._operator(group, raw)
    output = self._activation(group.name, group.name, shape)
    options = schema.MaximumMinimumOptionsT()
    self.model.operator(code, [raw, limit], output, options)

  def _operator(self, group, output):
    inputs = [self.model.index[i] for i in group.inputs]
    getattr(self, f"_{group.op.name}")(group, inputs, output)

  def _conv(self, group, inputs, output):
    options = schema.Conv2DOptionsT()
    self._convolve(group, inputs, output, _CODE.CONV_2D, options)

  def _depthwise_conv(self, group, inputs, output):
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier = 1
    code = _CODE.DEPTHWISE_CONV_2D
    self._convolve(group, inputs, output, code, options)

  def _convolve(self, group, inputs, output, code, options):
    op = group.op
    inputs, options.padding = self._padded(group, inputs)
    options.strideH, options.strideW = op.strides
    options.dilationHFactor = options.dilationWFactor = op.dilation
    options.fusedActivationFunction = self._fused(group)
    inputs = inputs + self._weights(group, (3, 0, 1, 2))
    self.model.operator(code, inputs, output, options)

  def _dense(self, group, inputs, output):
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = self._fused(group)
    inputs = inputs + self._weights(group, (1, 0))
    self.model.operator(_CODE.FULLY_CONNECTED, inputs, output, options)

  def _add(self, group, inputs, output):
    options = schema.AddOptionsT()
    options.fusedActivationFunction = self._fused(group)
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

  def _shape(self, group, what, values):
    return self.model.constant(
      f"{group.name}.{what}", np.array(values, np.int32)
    )


def _pads(op, shape):
  """Pixels (before, after) in height and width: as `op` has it, and SAME's."""
  same, symmetric = padding.amounts(
    shape[:2], op.kernel_size, op.strides, op.dilation
  )
  own = op.padding == "symmetric" and op.strides != (1, 1)
  return (symmetric if own else same), same
