"""Writes networks as TensorFlow Lite files: quantised ones of UINT8 and INT32,
and in float32 what they are compared with."""

import io
from collections.abc import Mapping

import numpy as np

from qinit.errors import ExportError
from qinit.export import flatbuffer
from qinit.export.floats import FloatLowering
from qinit.export.integers import IntegerLowering
from qinit.files import write_bytes
from qinit.graph.spec import NetSpec
from qinit.quant.integer import IntegerNetwork
from qinit.quant.quantized import QuantizedNetwork, quantize
from qinit.quant.scheme import Ranges, Scheme


def export(
  spec: NetSpec,
  params: Mapping,
  ranges: Ranges,
  scheme: Scheme,
  batch_size: int = 1,
  packed: bool = False,
) -> bytes:
  """A BN-folded network as a per-tensor asymmetric UINT8 file, biases INT32.

  Tensors carry the names of the nodes whose output they hold.

  Args:
    packed: kernels in INT4, two weights to a byte, with activations in INT8;
      for kernels of up to 4 bits that have a code for -8 to 7. Meant for
      activations of 8 bits: the runtime runs such kernels outside XNNPACK and
      rounds twice, which at 4 bits often costs a code.

  Raises:
    QuantError: if the network cannot be quantised.
    ExportError: if the file would hold a float tensor, or a kernel cannot be
      packed.
  """
  return lower(quantize(spec, params, ranges, scheme), batch_size, packed)


def export_float(spec: NetSpec, params: Mapping, batch_size: int = 1) -> bytes:
  """A BN-folded network in float32, operator by operator as its quantised
  file.

  Raises:
    QuantError: if a BatchNorm or a ReLU6 on its own is left.
  """
  return FloatLowering(spec, params, batch_size).lower()


def lower(
  network: QuantizedNetwork, batch_size: int = 1, packed: bool = False
) -> bytes:
  """The file of a quantised network; raises ExportError."""
  data = IntegerLowering(network, batch_size, packed).lower()
  flatbuffer.require_integers(data)
  return data


def write_check(path, network: IntegerNetwork, images) -> None:
  """Writes what the device has to reproduce: `input_codes` of images
  [B, H, W, C] and the `output_codes` [B, classes] of the simulator, uint8.

  Raises:
    ExportError: if the file cannot be written.
  """
  archive = io.BytesIO()
  np.savez_compressed(
    archive,
    input_codes=network.input_codes(images),
    output_codes=network.output_codes(images),
  )
  write(path, archive.getvalue())


def write(path, data: bytes) -> None:
  """Writes a file whole or not at all.

  Raises:
    ExportError: if it cannot be written.
  """
  try:
    write_bytes(path, data)
  except OSError as error:
    raise ExportError(f"cannot write {path}: {error.strerror}") from None
