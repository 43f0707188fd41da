import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qinit.errors import ExportError
from qinit.export import flatbuffer, tflite
from qinit.graph.spec import INPUT
from qinit.quant.quantized import quantize
from qinit.quant.scheme import Scheme
from tests import quant_nets


@pytest.fixture(scope="module")
def job():
  return quant_nets.job(quant_nets.cell(), scheme=Scheme(4, 4))


def tensors(model):
  graph = flatbuffer.read(model).subgraphs[0]
  return {t.name.decode(): t for t in graph.tensors}, graph


def test_tensors_carry_names_quantisations_and_batch_size(job):
  network = quantize(*job.args)
  named, graph = tensors(tflite.export(*job.args, batch_size=5))
  assert graph.tensors[graph.inputs[0]].name == INPUT.encode()
  assert graph.tensors[graph.outputs[0]].name == b"logits"
  assert list(named["stem"].shape) == [5, 16, 16, 8]
  for name, affine in network.affines.items():
    quantization = named[name].quantization
    assert named[name].type == schema.TensorType.UINT8
    assert quantization.scale[0] == affine.scale
    offset = 0 if affine.bits == 8 else 240  # 4 bits: codes 240 to 255
    assert quantization.zeroPoint[0] == affine.zero_point + offset


def test_biases_are_int32_at_the_product_of_scales(job):
  network = quantize(*job.args)
  named, _ = tensors(tflite.export(*job.args))
  bias, kernel = named["mix/bias"], named["mix/kernel"]
  assert bias.type == schema.TensorType.INT32
  source = network.affines["joined"].scale
  assert bias.quantization.scale[0] == source * kernel.quantization.scale[0]
  assert bias.quantization.zeroPoint[0] == 0


def test_a_float_tensor_is_refused_by_name():
  model = flatbuffer.ModelBuilder()
  model.tensor(INPUT, (1, 4), 0.1, 3)
  model.tensor("oops", (1, 4), 0.1, 3)
  model.graph.tensors[-1].type = schema.TensorType.FLOAT32
  with pytest.raises(ExportError, match="tensor 'oops' is not of integers"):
    flatbuffer.require_integers(model.pack([INPUT], ["oops"]))


def test_other_bytes_are_no_model():
  with pytest.raises(ExportError, match="no TensorFlow Lite model"):
    flatbuffer.read(b"PK\x03\x04 something else")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
  path = tmp_path / "model.tflite"
  tflite.write(path, b"first")
  with monkeypatch.context() as patch:
    patch.setattr("os.replace", _full_disk)
    with pytest.raises(ExportError, match=r"cannot write .*tflite: No space"):
      tflite.write(path, b"second")
  assert path.read_bytes() == b"first"
  assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]


def _full_disk(*_):
  raise OSError(28, "No space left on device")


def test_kernels_are_the_codes_in_the_files_layout(job):
  network = quantize(*job.args)
  data = flatbuffer.read(tflite.export(*job.args))
  tensor = next(
    t for t in data.subgraphs[0].tensors if t.name == b"right_dw/kernel"
  )
  stored = np.asarray(data.buffers[tensor.buffer].data, np.uint8)
  codes = network.weights["right_dw"].codes
  assert list(tensor.shape) == [1, 5, 5, 8]
  np.testing.assert_array_equal(
    stored.reshape(tensor.shape), codes[None, ..., 0]
  )
  assert codes.max() <= 15
