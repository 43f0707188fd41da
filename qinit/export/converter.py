"""TensorFlow's own v1 converter, the oracle of our writer at W8A8.

It runs in a process of its own, for `convert()` leaks memory on every call.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from qinit.errors import ExportError
from qinit.functional import forward
from qinit.graph.spec import INPUT, NetSpec
from qinit.quant.quantized import QuantizedNetwork, quantize
from qinit.quant.scheme import Ranges, Scheme


def convert(spec: NetSpec, params: Mapping, ranges: Ranges) -> bytes:
  """The UINT8 file that TensorFlow makes of the BN-folded network at W8A8,
  for one image at a time.

  Raises:
    ExportError: if the converter fails.
  """
  with tempfile.TemporaryDirectory() as folder:
    job, out = Path(folder, "job"), Path(folder, "model.tflite")
    job.write_bytes(pickle.dumps((spec, dict(params), ranges)))
    command = [sys.executable, "-m", __name__, str(job), str(out)]
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
      command,
      env=os.environ | {"PYTHONPATH": path},
      capture_output=True,
      text=True,
      check=False,
    )
    if done.returncode:
      last = done.stderr.strip().splitlines()[-1:]
      raise ExportError(f"TensorFlow's converter failed: {''.join(last)}")
    return out.read_bytes()


class _Annotate:
  """The tap that says with fake-quant ops what the converter is to write.

  Weights and biases lie on their grids already; the ops name the ranges from
  which the converter derives scales and zero points itself.
  """

  def __init__(self, network: QuantizedNetwork, params, ranges: Ranges):
    self.network, self.params, self.ranges = network, params, ranges
    groups = network.placement.groups
    self.rounded = {INPUT} | {g.name for g in groups if g.rounds}
    self.kernels = {g.kernel: g for g in groups if g.kernel}
    self.biases = {g.bias: g for g in groups if g.kernel}

  def __call__(self, kind, name, tensor):
    if name in self.kernels:
      return self._kernel(self.kernels[name])
    if name in self.biases:
      return self._bias(self.biases[name])
    if name not in self.rounded:
      return tensor
    return _fake_quant(tensor, *self.ranges[self.network.placement.owner[name]])

  def _kernel(self, group):
    weights = self.network.weights[group.name]
    kernel = np.asarray(self.params[group.kernel])
    values = weights.affine.dequantize(weights.codes)
    own = kernel.min(), kernel.max()
    return _fake_quant(values, *self.ranges.get(group.kernel, own))

  def _bias(self, group):
    weights = self.network.weights[group.name]
    scale = self.network.affines[group.inputs[0]].scale * weights.affine.scale
    return tf.constant(weights.bias.astype(np.float32) * scale)


def _fake_quant(x, lo, hi):
  lo, hi = min(lo, 0.0), max(hi, 0.0)
  return tf.quantization.fake_quant_with_min_max_vars(x, lo, hi)


def _main(job, out):
  spec, params, ranges = pickle.loads(Path(job).read_bytes())
  network = quantize(spec, params, ranges, Scheme())
  shape = (1, *spec.input_shape)

  @tf.function(
    input_signature=[tf.TensorSpec(shape, tf.float32, name=INPUT)],
    autograph=False,
  )
  def run(image):
    tap = _Annotate(network, params, ranges)
    y = forward.forward(network.placement.spec, params, image, tap)
    return tf.identity(y, name="output")

  graph = run.get_concrete_function().graph.as_graph_def()
  with tempfile.NamedTemporaryFile(suffix=".pb") as file:
    file.write(graph.SerializeToString())
    file.flush()
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
      file.name, [INPUT], ["output"], {INPUT: shape}
    )
  affine = network.affines[INPUT]
  converter.inference_type = tf.uint8
  converter.quantized_input_stats = {
    INPUT: (affine.zero_point, 1 / affine.scale)
  }
  Path(out).write_bytes(converter.convert())


if __name__ == "__main__":
  _main(*sys.argv[1:])
