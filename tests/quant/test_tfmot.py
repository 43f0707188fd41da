"""Quantisation-aware training through TFMOT's own entry points."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from qinit.errors import QuantError
from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.keras import builder, reader
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.integer import IntegerNetwork
from qinit.quant.placement import place
from qinit.quant.tfmot import (
  QUANTIZERS,
  QatScheme,
  QatSettings,
  deploy,
  freeze_batch_norm,
  linear_layers,
  quantize_model,
)
from tests import quant_nets

API = tfmot.quantization.keras
LAYERS = tf_keras.layers
BITS = QatSettings(4, 4)


def small() -> NetSpec:
  """Stride, dilation, a depthwise convolution and a signed output."""
  nodes = [
    ("stem", ops.Conv(6, 3), INPUT),
    ("stem_bn", ops.BatchNorm(momentum=0.5), "stem"),
    ("stem_relu", ops.Relu(), "stem_bn"),
    ("dw", ops.DepthwiseConv(3, 2, dilation=2), "stem_relu"),
    ("dw_bn", ops.BatchNorm(), "dw"),
    ("project", ops.Conv(6, 1), "dw_bn"),
    ("pool", ops.GlobalPool(), "project"),
    ("logits", ops.Dense(4), "pool"),
  ]
  return NetSpec(
    (8, 8, 3), tuple(Node(name, op, (source,)) for name, op, source in nodes)
  )


def model_of(spec, seed=0):
  model = builder.build(spec)
  builder.assign(model, quant_nets.random_params(spec, seed))
  return model


def quantised(spec=None, settings=BITS, seed=0):
  """(float model, quantised model, images)."""
  spec = small() if spec is None else spec
  images = quant_nets.images(spec, 32)
  model = model_of(spec, seed)
  scheme = QatScheme(images, settings, quant_nets.INPUT_RANGE)
  return model, quantize_model(model, scheme), images


def train(model, images, steps=3, rate=1e-3):
  """A few steps of gradient descent on made-up labels, without tracing."""
  labels = np.arange(len(images)) % model.output_shape[-1]
  for _ in range(steps):
    with tf.GradientTape() as tape:
      logits = model(images, training=True)
      loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
      loss = sum(model.losses, tf.reduce_mean(loss))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    for variable, g in zip(variables, gradients, strict=True):
      variable.assign_sub(rate * g)


def predict(model, images):
  return model(images, training=False).numpy()


def test_tfmots_own_functions_take_the_scheme():
  model = model_of(small())
  images = quant_nets.images(small(), 16)
  annotated = API.quantize_annotate_model(model)
  found = API.quantize_apply(annotated, QatScheme(images, weight_bits=4))
  assert [la.name for la in linear_layers(found)] == [
    "stem",
    "dw",
    "project",
    "logits",
  ]


def test_eight_bits_change_a_network_little_before_training():
  model, found, images = quantised(settings=QatSettings(8, 8))
  wanted = predict(model, images)
  error = np.abs(predict(found, images) - wanted).max()
  assert 0 < error < 0.1 * np.ptp(wanted)


def test_training_normalises_by_the_batch_as_keras_does():
  # With eight bits the quantised layer is nearly Keras' Conv2D and
  # BatchNormalization, statistics included.
  spec = NetSpec((8, 8, 3), small().nodes[:3])
  model, found, images = quantised(spec, QatSettings(8, 8))
  wanted = model(images, training=True)
  y = found(images, training=True)
  assert float(tf.reduce_max(tf.abs(y - wanted))) < 0.1
  (layer,) = linear_layers(found)
  for role in ("moving_mean", "moving_variance"):
    theirs = model.get_layer("stem_bn").weights
    theirs = next(w for w in theirs if role in w.name)
    np.testing.assert_allclose(layer.params[role], theirs, atol=0.02)


def test_correction_is_exact_where_nothing_is_rounded(monkeypatch):
  # y = BN(conv(x, Q(w_f) sigma / gamma)) with Q the identity is BN(conv(x, w)).
  from qinit.quant.tfmot.quantizers import OwnRange

  monkeypatch.setattr(OwnRange, "train", lambda self, x, weights: x)
  _, found, images = quantised()
  layer = found.get_layer("dw")
  y = layer([images[..., [0, 1, 2] * 2], tf.constant(0.1)], training=True)
  float_params = {
    role: value
    for role, value in layer.params.items()
    if not role.startswith("moving")
  }
  kernel = {"depthwise_kernel": float_params.pop("depthwise_kernel")}
  conv = layer.op.apply(kernel, tf.constant(images[..., [0, 1, 2] * 2]))
  wanted = ops.BatchNorm().apply(float_params, conv, training=True)
  np.testing.assert_allclose(y, wanted, atol=1e-5)


def test_a_frozen_batch_norm_keeps_its_statistics_and_uses_them():
  _, found, images = quantised()
  layer = next(linear_layers(found))
  before = [layer.params[f"moving_{r}"].numpy() for r in ("mean", "variance")]
  freeze_batch_norm(found)
  y = found(images, training=True)
  for value, role in zip(before, ("mean", "variance"), strict=True):
    np.testing.assert_array_equal(layer.params[f"moving_{role}"], value)
  # Ranges still follow the batch, so only nearly the graph of evaluation.
  np.testing.assert_allclose(y, found(images, training=False), atol=0.5)
  freeze_batch_norm(found, False)
  found(images, training=True)
  assert not np.allclose(layer.params["moving_mean"], before[0])


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_what_is_trained_is_what_is_deployed(quantizer):
  spec, settings = small(), QatSettings(4, 4, quantizer)
  _, found, images = quantised(spec, settings)
  train(found, images)
  job = deploy(found, spec, settings)
  args = (job.params, job.ranges, job.scheme)
  tap = FakeQuant(place(job.spec), *args)
  logits = forward(job.spec, job.params, images, tap)
  np.testing.assert_allclose(
    predict(found, images), logits, rtol=1e-4, atol=1e-4
  )
  if quantizer == "tqt":
    return  # powers of two make ties, which the runtime rounds to even
  network = IntegerNetwork(job.spec, *args)
  affine = network.affines["logits"]
  codes = affine.quantize(predict(found, images))
  assert np.mean(codes == network.output_codes(images)) > 0.98


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_learned_range_ends_at_the_ceiling_of_its_relu(quantizer):
  relu6 = Node("stem_relu", ops.Relu(6), ("stem_bn",))
  nodes = [relu6 if n.name == "stem_relu" else n for n in small().nodes]
  spec, settings = (
    NetSpec((8, 8, 3), tuple(nodes)),
    QatSettings(4, 4, quantizer),
  )
  _, found, images = quantised(spec, settings)
  for variable in found.get_layer("stem_relu_quantize").trainable_variables:
    variable.assign(variable + 100)  # what training could have made of it
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(tf.square(found(images, training=True)))
  point = found.get_layer("stem_relu_quantize")
  assert None not in tape.gradient(loss, point.trainable_variables)
  job = deploy(found, spec, settings)
  network = IntegerNetwork(job.spec, job.params, job.ranges, job.scheme)
  lo, hi = network.affines["stem_relu"].range
  assert lo == 0 and hi <= 6.0001
  if point.trainable_variables:
    assert hi == pytest.approx(4 * 15 / 16 if quantizer == "tqt" else 6)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_every_trainable_variable_gets_a_gradient(quantizer):
  _, found, images = quantised(settings=QatSettings(4, 4, quantizer))
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(tf.square(found(images, training=True)))
  variables = found.trainable_variables
  for variable, g in zip(
    variables, tape.gradient(loss, variables), strict=True
  ):
    assert g is not None, variable.name
    assert np.isfinite(tf.convert_to_tensor(g)).all(), variable.name


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_kernels_take_as_many_values_as_their_bits_allow(bits):
  _, found, _ = quantised(settings=QatSettings(bits, 4))
  layer = found.get_layer("project")
  kernel, _ = layer._folded()
  values = np.unique(layer.quantizer(kernel, False, layer.state))
  assert 2 < len(values) <= 2**bits


def test_per_channel_kernels_have_a_scale_each_and_no_file():
  settings = QatSettings(4, 4, per_channel=True)
  _, found, images = quantised(settings=settings)
  sizes = {}
  for layer in linear_layers(found):
    kernel, _ = layer._folded()
    affine = layer.quantizer.affine(layer.state, kernel)
    sizes[layer.name] = affine.scale.shape
  assert sizes["stem"] == (1, 1, 1, 6) and sizes["dw"] == (1, 1, 6, 1)
  assert sizes["logits"] == (1, 4)
  train(found, images)
  with pytest.raises(QuantError, match=r"'stem'.*per_channel=False"):
    deploy(found, small(), settings)


def test_ranges_are_calibrated_and_follow_only_as_ema():
  for kind, moves in (
    ("ema", True),
    ("absolute", False),
    ("percentile", False),
  ):
    settings = QatSettings(4, 4, ranges=kind, clip_percentile=2.0)
    _, found, images = quantised(settings=settings)
    point = found.get_layer("stem_relu_quantize")
    lo, hi = point.range()
    assert lo == 0 and 0.1 < hi < 5.9
    found(3 * images, training=True)
    assert (point.range() != (lo, hi)) == moves


def test_percentiles_clip_and_absolute_ranges_do_not():
  hi = {}
  for kind in ("percentile", "absolute"):
    settings = QatSettings(4, 4, ranges=kind, clip_percentile=5.0)
    _, found, _ = quantised(settings=settings)
    hi[kind] = found.get_layer("stem_relu_quantize").range()[1]
  assert hi["percentile"] < 0.9 * hi["absolute"]


def test_tensors_of_one_concat_share_a_point():
  spec = quant_nets.cell()
  _, found, images = quantised(spec)
  joined = found.get_layer("joined_quantize")
  assert joined.quantizer.slots > 1
  job = deploy(found, spec, BITS)
  placement = place(job.spec)
  assert set(placement.points) <= set(job.ranges)
  train(found, images, 1)
  assert np.isfinite(predict(found, images)).all()


def test_oscillation_is_followed_and_freezing_holds_weights():
  settings = QatSettings(3, 4, freeze_above=0.005, damping=1e-3)
  _, found, images = quantised(settings=settings)
  train(found, images, steps=12, rate=0.5)
  layer = found.get_layer("stem")
  frozen = layer.oscillation["frozen"].numpy()
  assert 0 < frozen.sum() < frozen.size
  job = deploy(found, small(), settings)
  network = IntegerNetwork(job.spec, job.params, job.ranges, job.scheme)
  codes = network.quantized.weights["stem_relu"].codes
  wanted = layer.oscillation["code"].numpy()
  np.testing.assert_array_equal(codes[frozen > 0], wanted[frozen > 0])


def test_weights_saved_models_and_clones_compute_the_same(tmp_path):
  _, found, images = quantised(settings=QatSettings(4, 4, "lsq"))
  train(found, images)
  wanted = predict(found, images)
  _, other, _ = quantised(settings=QatSettings(4, 4, "lsq"), seed=1)
  found.save_weights(str(tmp_path / "net.weights.h5"))
  other.load_weights(str(tmp_path / "net.weights.h5"))
  clone = tf_keras.models.clone_model(found)
  clone.set_weights(found.get_weights())
  found.save(str(tmp_path / "saved"), save_format="tf")
  loaded = tf_keras.models.load_model(str(tmp_path / "saved"))
  for model in (other, clone, loaded):
    np.testing.assert_allclose(predict(model, images), wanted, atol=1e-6)


def test_keras_files_load(tmp_path):
  _, found, images = quantised()
  train(found, images)
  path = str(tmp_path / "net.keras")
  found.save(path)
  loaded = tf_keras.models.load_model(path)
  np.testing.assert_allclose(
    predict(loaded, images), predict(found, images), atol=1e-6
  )


def test_the_float_model_is_left_alone():
  model, found, images = quantised()
  before = [w.copy() for w in model.get_weights()]
  train(found, images)
  for old, new in zip(before, model.get_weights(), strict=True):
    np.testing.assert_array_equal(old, new)


def test_mobilenet_v2_from_keras():
  model = tf_keras.applications.MobileNetV2(
    input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=10
  )
  images = np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 3))
  images = images.astype(np.float32)
  found = quantize_model(model, QatScheme(images, weight_bits=8))
  y = found(images, training=True)
  np.testing.assert_allclose(tf.reduce_sum(y, -1), np.ones(8), rtol=1e-5)
  spec = reader.read(model).spec
  job = deploy(found, spec, QatSettings(8, 8))
  assert place(job.spec).output in job.ranges


def test_settings_are_data():
  assert dataclasses.asdict(BITS)["quantizer"] == "simquant"
