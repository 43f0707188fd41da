"""Float files against the functional engine, in LiteRT."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from qinit.archs import zoo
from qinit.export import flatbuffer, tflite
from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.rewrite import fold_batch_norm
from qinit.graph.spec import NetSpec, Node
from tests import quant_nets


def outputs(model, images):
  interpreter = Interpreter(model_content=model)
  interpreter.allocate_tensors()
  entry, end = (
    details()[0]["index"]
    for details in (
      interpreter.get_input_details,
      interpreter.get_output_details,
    )
  )
  interpreter.set_tensor(entry, images)
  interpreter.invoke()
  return interpreter.get_tensor(end)


def check(spec, params):
  images = np.random.default_rng(0).random((4, *spec.input_shape), np.float32)
  expected = forward(spec, params, images).numpy()
  found = outputs(tflite.export_float(spec, params, 4), images)
  scale = np.abs(expected).max()
  np.testing.assert_allclose(found, expected, atol=1e-5 * scale, rtol=1e-4)


@pytest.mark.parametrize("arch", zoo.ARCHS)
def test_the_zoo(arch, lively):
  spec, params = lively(arch)
  check(*fold_batch_norm(spec, params))


def test_a_cell_with_every_kind_of_group():
  spec = quant_nets.cell()
  check(*fold_batch_norm(spec, quant_nets.random_params(spec, 0)))


def clipped(ceiling):
  nodes = (
    Node("conv", ops.Conv(8, (3, 3)), ("input",)),
    Node("relu", ops.Relu(ceiling), ("conv",)),
    Node("pool", ops.GlobalPool(), ("relu",)),
    Node("logits", ops.Dense(3), ("pool",)),
  )
  spec = NetSpec((8, 8, 3), nodes)
  params = quant_nets.random_params(spec, 1)
  return spec, params | {"conv/kernel": 20 * params["conv/kernel"]}


@pytest.mark.parametrize(
  "ceiling, operators", [(0, 3), (6, 3), (4, 4)], ids=["none", "relu6", "other"]
)
def test_ceilings(ceiling, operators):
  """ReLU6 is fused, any other ceiling a MINIMUM."""
  spec, params = clipped(ceiling)
  check(spec, params)
  model = flatbuffer.read(tflite.export_float(spec, params))
  assert len(flatbuffer.operators(model)) == operators


def test_it_has_the_operators_of_its_quantised_file():
  job = quant_nets.job(quant_nets.cell())
  files = tflite.export(*job.args), tflite.export_float(job.spec, job.params)
  first, second = (flatbuffer.operators(flatbuffer.read(f)) for f in files)
  assert first == second
