"""Parity on trained, live networks of every architecture of the zoo."""

import numpy as np
import pytest

from qinit.archs import zoo
from qinit.export import converter, flatbuffer, runtime, tflite
from qinit.quant.integer import IntegerNetwork
from tests import quant_nets, trained
from tests.export.parity import assert_layers_agree

EVERY_ARCH = pytest.mark.parametrize("arch", list(zoo.ARCHS))


@pytest.fixture(scope="module")
def exported():
  """Maps an architecture to its job, its simulator and its file."""
  made = {}

  def get(arch):
    if arch not in made:
      images, _ = trained.digits()
      job = quant_nets.job(*trained.network(arch), images[: trained.TRAINING])
      made[arch] = job, IntegerNetwork(*job.args), tflite.export(*job.args)
    return made[arch]

  return get


@EVERY_ARCH
def test_litert_gives_the_codes_of_the_simulator(arch, exported):
  _, network, model = exported(arch)
  images, labels = (part[trained.TRAINING :] for part in trained.digits())
  codes = network.output_codes(images)
  assert np.mean(codes.argmax(1) == labels) >= 0.3  # three times chance
  assert len(np.unique(codes)) >= 32
  end_to_end = runtime.compare(model, network, images, batch_size=99)
  assert end_to_end.equal >= 99.5, end_to_end
  assert_layers_agree(model, network, images[:32])


@pytest.mark.parametrize("arch", ["dws_conv_bn", "basic_residual_no_bn"])
def test_tensorflows_converter_writes_the_same_file(arch, exported):
  job, network, ours = exported(arch)
  theirs = converter.convert(job.spec, job.params, job.ranges)
  assert _constants(ours) == _constants(theirs)
  assert _operators(ours) == _operators(theirs)
  images = trained.digits()[0][trained.TRAINING :]
  assert runtime.compare(theirs, network, images).equal == 100


def _constants(model):
  """Kernels and biases: their bytes, scales and zero points, in any order."""
  model = flatbuffer.read(model)
  found = []
  for tensor in model.subgraphs[0].tensors:
    quantization, data = tensor.quantization, model.buffers[tensor.buffer].data
    if data is not None and quantization and quantization.scale is not None:
      scale, zero_point = quantization.scale[0], quantization.zeroPoint[0]
      found.append((bytes(data), float(scale), int(zero_point)))
  return sorted(found)


def _operators(model):
  """Each operator with its output's scale and zero point."""
  model = flatbuffer.read(model)
  graph = model.subgraphs[0]
  outputs = [
    graph.tensors[op.outputs[0]].quantization for op in graph.operators
  ]
  return sorted(
    (name, float(q.scale[0]), int(q.zeroPoint[0]))
    for name, q in zip(flatbuffer.operators(model), outputs, strict=True)
  )
