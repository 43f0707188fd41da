"""Networks as TensorFlow Lite operators in float32: what a quantised file is
compared with on a device."""

from collections.abc import Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qinit.export.operators import Lowering
from qinit.graph.spec import NetSpec
from qinit.quant.placement import place

_DEPTHWISE = "depthwise_kernel"
_FUNCTIONS = schema.ActivationFunctionType
_RELUS = {0: _FUNCTIONS.RELU, 6: _FUNCTIONS.RELU6}


class FloatLowering(Lowering):
  """The operators of `IntegerLowering` on float32 tensors."""

  def __init__(self, spec: NetSpec, params: Mapping, batch_size: int):
    self.params = params
    super().__init__(place(spec), batch_size, np.float32)

  def _activation(self, name, owner, shape):
    return self.model.tensor(name, (self.batch_size, *shape))

  def _zero(self, group):
    shape = (self.batch_size, *self.shapes[group.name])
    self.model.constant(group.name, np.zeros(shape, np.float32))

  def _weights(self, group, order):
    kernel = np.asarray(self.params[group.kernel], np.float32).transpose(order)
    channels = kernel.shape[-1 if group.kernel.endswith(_DEPTHWISE) else 0]
    bias = self.params.get(group.bias, np.zeros(channels))
    return [
      self.model.constant(group.kernel, kernel),
      self.model.constant(group.bias, np.asarray(bias, np.float32)),
    ]

  def _add_group(self, group):
    ceiling = self.placement.ceiling(group)
    if ceiling in _RELUS:
      super()._add_group(group)
      return
    limit = np.array(ceiling, np.float32)
    most = self.model.constant(f"{group.name}.most", limit)
    self._add_clipped(group, schema.BuiltinOperator.MINIMUM, most)

  def _fused(self, group):
    if not group.relu:
      return _FUNCTIONS.NONE
    return _RELUS.get(self.placement.ceiling(group), _FUNCTIONS.RELU)
