"""What happens to a trained network: fold, calibrate, quantise, measure,
export, and run the file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from qinit.data.dataset import Dataset, scaled
from qinit.export import runtime, tflite
from qinit.files import write_text
from qinit.functional.forward import forward
from qinit.graph.rewrite import fold_batch_norm
from qinit.graph.spec import NetSpec
from qinit.quant.deployed import Deployed
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.integer import IntegerNetwork
from qinit.quant.ranges import calibrate
from qinit.quant.scheme import Scheme
from qinit.stats import accuracy
from qinit.stats.distribution import write_distributions
from qinit.stats.layerwise import to_csv
from qinit.study.layers import layer_statistics
from qinit.study.sensitivity import with_sensitivity

# Images are scaled to [0, 1]: the input's range is fixed and exact.
INPUT_RANGE = (0.0, 1.0)
# The folded network in float, for `tflite_bench` to compare with.
FLOAT_FILE = "float.tflite"
_BATCH = 128
# Tensors are quantised one at a time on so many test images.
_SENSITIVITY_IMAGES = 1000
# Layers are compared with the runtime's on so many test images, and the
# reference kernels, which are slow, run on so many.
_LAYER_IMAGES, _REFERENCE_IMAGES, _CHECK_IMAGES = 64, 1000, 100
# Percent of the output codes that a file must have in common with the
# simulation.
_LEAST_EQUAL = 99.9


def calibration(data: Dataset, count: int, seed: int) -> np.ndarray:
  """Random training images [N, H, W, C] in [0, 1]."""
  rng = np.random.Generator(np.random.Philox(seed))
  count = min(count, len(data.train_images))
  chosen = rng.choice(len(data.train_images), count, replace=False)
  return scaled(data.train_images[chosen])


def quantise(
  spec: NetSpec,
  params: Mapping,
  logits: np.ndarray,
  data: Dataset,
  scheme: Scheme,
  images: np.ndarray,
  folder: Path,
) -> dict:
  """Metrics of the network at the widths of `scheme`, over the test set.

  Writes the layers' statistics and the file with its check into `folder`.

  Args:
    logits: of the float network on the test images.
    images: for calibration, [N, H, W, C].

  Raises:
    QuantError: if the network cannot be quantised.
  """
  spec, params = fold_batch_norm(spec, params)
  ranges = calibrate(spec, params, _batches(images), scheme, INPUT_RANGE)
  job = Deployed(spec, params, ranges, scheme)
  return measure(job, logits, data, images, folder)


def status(metrics: dict) -> str:
  """Either "ok" or, for a file that in the runtime gives other codes than the
  simulation, whose accuracy would not be the device's, "failed"."""
  equal = metrics.get("litert_equal_codes", 100.0)
  return "ok" if equal >= _LEAST_EQUAL else "failed"


def measure(
  job: Deployed,
  logits: np.ndarray,
  data: Dataset,
  images: np.ndarray,
  folder: Path,
) -> dict:
  """`quantise` for a network that is folded and has its ranges."""
  params, ranges, scheme = job.params, job.ranges, job.scheme
  network = IntegerNetwork(job.spec, params, ranges, scheme)
  rows, distributions = layer_statistics(
    network.quantized,
    params,
    ranges,
    _batches(images),
    scheme.clip_percentile,
  )
  tap = FakeQuant(network.placement, params, ranges, scheme)
  test = scaled(data.test_images)
  some = slice(_SENSITIVITY_IMAGES)
  rows = with_sensitivity(
    rows, network.placement, params, tap, test[some], data.test_labels[some]
  )
  suffix = "" if scheme.name == "w8a8" else f"_{scheme.name}"
  write_text(folder / f"layerwise{suffix}.csv", to_csv(rows))
  write_distributions(folder / f"distributions{suffix}.npz", distributions)
  tflite.write(folder / FLOAT_FILE, tflite.export_float(job.spec, params))
  file = folder / f"model_{_file_name(scheme)}"
  codes = network.output_codes(test)
  quantised = network.affines[network.placement.output].dequantize(codes)
  return (
    _simulated(logits, quantised, data.test_labels)
    | _fake_quantised(network, params, tap, test, codes, data.test_labels)
    | _in_runtime(network, test, codes, data.test_labels, file)
  )


def _simulated(logits, quantised, labels):
  before = accuracy.accuracy(logits, labels)
  after = accuracy.accuracy(quantised, labels)
  return {
    "quint8_accuracy": after,
    "qmse": accuracy.qmse(logits, quantised),
    "qce": accuracy.qce(logits, quantised),
    "kl": accuracy.kl(logits, quantised),
    "accuracy_decrease": accuracy.accuracy_decrease(before, after),
  }


def _fake_quantised(network, params, tap, images, exact, labels):
  """The fake-quant graph, a float simulation, beside the exact codes."""
  placement = network.placement

  @tf.function(input_signature=[_image_batch(placement.spec)], autograph=False)
  def logits(batch):
    return forward(placement.spec, params, batch, tap)

  values = np.concatenate([logits(b).numpy() for b in _batches(images)])
  codes = network.affines[placement.output].quantize(values)
  return {
    "fake_quant_accuracy": accuracy.accuracy(values, labels),
    "fake_quant_equal_codes": runtime.Parity.of(codes, exact).equal,
  }


def _in_runtime(network, images, exact, labels, file):
  """The exported file in LiteRT beside the exact codes: XNNPACK on all images,
  the reference kernels on the first ones, each layer on the runtime's own
  input."""
  model = tflite.lower(network.quantized)
  tflite.write(f"{file}.tflite", model)
  tflite.write_check(f"{file}.check.npz", network, images[:_CHECK_IMAGES])
  inputs = network.input_codes(images)
  codes = runtime.Runtime(model).output_codes(inputs)
  some = slice(_REFERENCE_IMAGES)
  reference = runtime.Runtime(model, "reference").output_codes(inputs[some])
  layers = runtime.compare_layers(model, network, images[:_LAYER_IMAGES])
  parity = runtime.Parity.of(codes, exact)
  return {
    "litert_accuracy": accuracy.accuracy(codes, labels),
    "litert_equal_codes": parity.equal,
    "litert_max_difference": parity.max_difference,
    "litert_layer_equal_codes": min(p.equal for p in layers.values()),
    "litert_layer_max_difference": max(
      p.max_difference for p in layers.values()
    ),
    "litert_ref_accuracy": accuracy.accuracy(reference, labels[some]),
    "litert_ref_equal_codes": runtime.Parity.of(reference, exact[some]).equal,
    "tflite_bytes": len(model),
    "output_codes": len(np.unique(exact)),
  }


def _image_batch(spec):
  return tf.TensorSpec([None, *spec.input_shape], tf.float32)


def _file_name(scheme):
  return "quint8" if scheme.name == "w8a8" else scheme.name


def _batches(images):
  return (images[i : i + _BATCH] for i in range(0, len(images), _BATCH))
