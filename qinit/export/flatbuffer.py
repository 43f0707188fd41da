"""Assembles a TensorFlow Lite flatbuffer."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qinit.errors import ExportError

_IDENTIFIER = b"TFL3"
_VERSION = 3
_INTEGERS = {
  np.dtype(np.uint8): schema.TensorType.UINT8,
  np.dtype(np.int8): schema.TensorType.INT8,
  np.dtype(np.int32): schema.TensorType.INT32,
}
_INTEGER_TYPES = {*_INTEGERS.values(), schema.TensorType.INT4}
_TYPES = _INTEGERS | {np.dtype(np.float32): schema.TensorType.FLOAT32}
_OPERATORS = {
  code: name
  for name, code in vars(schema.BuiltinOperator).items()
  if isinstance(code, int)
}


class ModelBuilder:
  """One subgraph; tensors and operators in the order they are added.

  Args:
    dtype: of the activations, uint8, int8 or float32.
  """

  def __init__(self, dtype=np.uint8):
    self.dtype = np.dtype(dtype)
    self.graph = schema.SubGraphT()
    self.graph.name = "main"
    self.graph.tensors, self.graph.operators = [], []
    self.buffers = [schema.BufferT()]  # buffer 0 is that of no data
    self.codes = {}
    self.index = {}

  def tensor(self, name: str, shape, scale=None, zero_point: int = 0) -> int:
    """An activation [B, ...], known by its name from then on."""
    self.index[name] = self._tensor(
      name, shape, _TYPES[self.dtype], 0, scale, zero_point
    )
    return self.index[name]

  def constant(self, name: str, data, scale=None, zero_point: int = 0) -> int:
    """A tensor that holds `data`, of 8 or 32 bits."""
    return self._constant(
      name, data.shape, _TYPES[data.dtype], data, scale, zero_point
    )

  def packed(self, name: str, data, scale) -> int:
    """A tensor of INT4, zero point 0: `data` from -8 to 7, two to a byte, the
    first in the low half."""
    values = np.resize(data.ravel(), data.size + data.size % 2) & 15
    pairs = (values[::2] | values[1::2] << 4).astype(np.uint8)
    kind = schema.TensorType.INT4
    return self._constant(name, data.shape, kind, pairs, scale, 0)

  def operator(self, code: int, inputs, output: int, options=None) -> None:
    """An operator of `schema.BuiltinOperator`, with its options object."""
    op = schema.OperatorT()
    op.opcodeIndex = self.codes.setdefault(code, len(self.codes))
    op.inputs = np.array(inputs, np.int32)
    op.outputs = np.array([output], np.int32)
    if options is not None:
      kind = type(options).__name__.removesuffix("T")
      op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
      op.builtinOptions = options
    self.graph.operators.append(op)

  def pack(self, inputs: list[str], outputs: list[str]) -> bytes:
    """The file's bytes."""
    self.graph.inputs = np.array([self.index[n] for n in inputs], np.int32)
    self.graph.outputs = np.array([self.index[n] for n in outputs], np.int32)
    model = schema.ModelT()
    model.version, model.description = _VERSION, "qinit"
    model.subgraphs, model.buffers = [self.graph], self.buffers
    model.operatorCodes = [_operator_code(code) for code in self.codes]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())

  def _constant(self, name, shape, kind, data, scale, zero_point):
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
    self.buffers.append(buffer)
    last = len(self.buffers) - 1
    self.index[name] = self._tensor(name, shape, kind, last, scale, zero_point)
    return self.index[name]

  def _tensor(self, name, shape, kind, buffer, scale, zero_point):
    tensor = schema.TensorT()
    tensor.name, tensor.shape = name, np.array(shape, np.int32)
    tensor.type, tensor.buffer = kind, buffer
    if scale is not None:
      tensor.quantization = schema.QuantizationParametersT()
      tensor.quantization.scale = [np.float32(scale)]
      tensor.quantization.zeroPoint = [int(zero_point)]
    self.graph.tensors.append(tensor)
    return len(self.graph.tensors) - 1


def read(data: bytes):
  """The object tree (`schema.ModelT`) of a file's bytes.

  Raises:
    ExportError: if they are no TensorFlow Lite model.
  """
  if data[4:8] != _IDENTIFIER:
    raise ExportError("these bytes are no TensorFlow Lite model")
  return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))


def operators(model) -> list[str]:
  """The operators of a model by name, in order."""
  codes = [
    max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes
  ]
  return [
    _OPERATORS[codes[op.opcodeIndex]] for op in model.subgraphs[0].operators
  ]


def require_integers(data: bytes) -> None:
  """Raises ExportError if a tensor of the file is anything but integers,
  naming it."""
  for graph in read(data).subgraphs:
    for tensor in graph.tensors:
      if tensor.type not in _INTEGER_TYPES:
        raise ExportError(f"tensor {_text(tensor.name)!r} is not of integers")


def _operator_code(code):
  operator = schema.OperatorCodeT()
  operator.builtinCode = operator.deprecatedBuiltinCode = code
  operator.version = 1
  return operator


def _text(name):
  return name.decode() if isinstance(name, bytes) else name
