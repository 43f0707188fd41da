"""Parity on trained, live networks of every architecture of the zoo."""

import numpy as np
import pytest

from qinit.archs import zoo
from qinit.export import converter, flatbuffer, latency, runtime, tflite
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
  assert end_to_end.equal >= 99.9, end_to_end
  # XNNPACK runs the whole network.
  file = runtime.Runtime(model)
  assert latency.delegation(file.interpreter)["delegates"] == 1
  assert_layers_agree(model, network, images[:32])


@pytest.mark.parametrize("arch", ["dws_conv_bn", "basic_residual_no_bn"])
def test_tensorflows_converter_writes_the_same_file(arch, exported):
  job, network, ours = exported(arch)
  theirs = converter.convert(job.spec, job.params, job.ranges)
  for mine, other in (
    (_constants(ours), _constants(theirs)),
    (_operators(ours), _operators(theirs)),
  ):
    assert [row[:2] for row in mine] == [row[:2] for row in other]
    # TensorFlow multiplies the scales of a bias before it rounds them.
    scales = [[row[2] for row in rows] for rows in (mine, other)]
    np.testing.assert_allclose(*scales, rtol=2**-23)
  images = trained.digits()[0][trained.TRAINING :]
  assert runtime.compare(theirs, network, images).equal == 100


def _constants(model):
  """(bytes, zero point, scale) of each kernel and bias, sorted."""
  model = flatbuffer.read(model)
  found = []
  for tensor in model.subgraphs[0].tensors:
    quantization, data = tensor.quantization, model.buffers[tensor.buffer].data
    if data is not None and quantization and quantization.scale is not None:
      found.append((bytes(data), *_affine(quantization)))
  return sorted(found)


def _operators(model):
  """(name, zero point of the output, its scale) of each operator, sorted."""
  model = flatbuffer.read(model)
  graph = model.subgraphs[0]
  outputs = [graph.tensors[op.outputs[0]] for op in graph.operators]
  return sorted(
    (name, *_affine(output.quantization))
    for name, output in zip(flatbuffer.operators(model), outputs, strict=True)
  )


def _affine(quantization):
  return int(quantization.zeroPoint[0]), float(quantization.scale[0])
