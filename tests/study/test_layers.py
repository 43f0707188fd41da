"""Layerwise rows hold the statistics of the right tensors."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qinit import keras
from qinit.graph.rewrite import fold_batch_norm
from qinit.graph.spec import INPUT
from qinit.quant.quantized import quantize
from qinit.quant.ranges import calibrate
from qinit.quant.scheme import parse_width
from qinit.study.layers import layer_statistics

LEARNED = (-0.1, 0.2)


@pytest.fixture(scope="module", params=["w8a8", "w3a5"])
def measured(request, lively):
  """Rows of a folded network whose stem has a learned range, and its tensors
  by (kind, name): the parameters and what native Keras computes."""
  scheme = parse_width(request.param, 1.0)
  spec, params = fold_batch_norm(*lively("dws_conv_bn"))
  images = np.random.default_rng(0).random((16, 16, 16, 3), np.float32)
  ranges = dict(calibrate(spec, params, [images], scheme, (0.0, 1.0)))
  ranges["stem/kernel"] = LEARNED
  network = quantize(spec, params, ranges, scheme)
  rows, _ = layer_statistics(
    network, params, ranges, [images[:6], images[6:]], 1.0
  )
  model = keras.build(spec)
  keras.assign(model, params)
  outputs = {layer.name: layer.output for layer in model.layers}
  tensors = {
    ("activation", name): value.numpy()
    for name, value in tf_keras.Model(model.input, outputs)(images).items()
  }
  tensors["activation", INPUT] = images
  for key, value in params.items():
    node, role = key.split("/")
    if role.endswith("kernel"):
      tensors["weight", node] = np.asarray(value)
  return rows, tensors, scheme


def test_every_tensor_has_a_row(measured):
  rows, tensors, _ = measured
  kernels = {name for kind, name in tensors if kind == "weight"}
  assert {r.name for r in rows if r.kind == "weight"} == kernels
  activations = [r.name for r in rows if r.kind == "activation"]
  assert activations[:2] == [INPUT, "stem_relu"]
  assert activations[-1] == "logits"


def test_weights_span_their_own_range_or_the_learned_one(measured):
  rows, tensors, _ = measured
  for row in rows:
    if row.kind == "weight":
      kernel = tensors["weight", row.name]
      own = min(kernel.min(), 0.0), max(kernel.max(), 0.0)
      wanted = LEARNED if row.name == "stem" else own
      assert (row.min, row.max) == pytest.approx(wanted)
      assert (row.clipped_share > 0) == (row.name == "stem")


def test_losses_are_those_of_tensorflows_quantiser(measured):
  rows, tensors, scheme = measured
  bits = {"weight": scheme.weight_bits, "activation": scheme.activation_bits}
  for row in rows:
    values = tensors[row.kind, row.name]
    clipped = np.mean((values < row.min) | (values > row.max))
    assert row.clipped_share == pytest.approx(clipped, abs=1e-3)
    ends = row.kind == "activation" and row.name in (INPUT, "logits")
    width = 8 if ends else bits[row.kind]
    rounded = tf.quantization.fake_quant_with_min_max_vars(
      values, row.min, row.max, width
    )
    lost = np.mean(np.square(values - rounded, dtype=np.float64))
    assert row.qmse == pytest.approx(lost, rel=1e-2)
