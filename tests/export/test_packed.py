"""Kernels packed into INT4, two weights to a byte."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qinit.errors import ExportError
from qinit.export import flatbuffer, runtime, tflite
from qinit.quant.integer import IntegerNetwork
from qinit.quant.scheme import Scheme
from tests import quant_nets


def symmetric(job):
  """The job with kernel ranges that have Z = 2^(n - 1), as LSQ learns them."""
  bits, ranges = job.scheme.weight_bits, dict(job.ranges)
  for key, value in job.params.items():
    if key.endswith("kernel"):
      step = float(np.abs(value).max()) / (2 ** (bits - 1) - 1)
      half = 2 ** (bits - 1)
      ranges[key] = (-half * step, (half - 1) * step)
  return quant_nets.Job(job.spec, job.params, ranges, job.scheme)


def test_packed_layers_are_a_code_away_from_the_simulator_at_most():
  # LiteRT runs INT4 kernels outside of XNNPACK, in code that rounds twice.
  job = symmetric(quant_nets.job(quant_nets.cell(), scheme=Scheme(4, 8)))
  network = IntegerNetwork(*job.args)
  model = tflite.export(*job.args, batch_size=16, packed=True)
  x = quant_nets.images(job.spec, 48)
  assert len(np.unique(network.output_codes(x))) > 32
  layers = runtime.compare_layers(model, network, x)
  assert max(p.max_difference for p in layers.values()) <= 1


def test_packed_kernels_take_half_the_bytes():
  job = symmetric(quant_nets.job(quant_nets.cell(), scheme=Scheme(4, 8)))
  graph = flatbuffer.read(tflite.export(*job.args, packed=True))
  tensors = graph.subgraphs[0].tensors
  kernels = [t for t in tensors if t.type == schema.TensorType.INT4]
  assert len(kernels) == 9
  for tensor in kernels:
    data = graph.buffers[tensor.buffer].data
    assert len(data) == -(-np.prod(tensor.shape) // 2)
  wide = flatbuffer.read(tflite.export(*job.args))
  assert not any(
    t.type == schema.TensorType.INT4 for t in wide.subgraphs[0].tensors
  )


def test_nibbles_by_hand():
  builder = flatbuffer.ModelBuilder(np.int8)
  builder.packed("k", np.array([1, -1, 7, -8, 3], np.int8), 1.0)
  # Low half first: 0xF1, 0x87, 0x?3.
  data = builder.buffers[-1].data
  assert list(data[:2]) == [0xF1, 0x87] and data[2] & 15 == 3


def test_asymmetric_kernels_are_refused():
  job = quant_nets.job(quant_nets.cell(), scheme=Scheme(8, 8))
  with pytest.raises(ExportError, match="'stem/kernel' does not fit into INT4"):
    tflite.export(*job.args, packed=True)
