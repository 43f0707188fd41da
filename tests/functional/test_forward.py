import numpy as np
import pytest
import tensorflow as tf

from qinit import keras
from qinit.archs import zoo
from qinit.functional.forward import forward, split_by_node
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node

EVERY_ARCH = pytest.mark.parametrize("arch", zoo.ARCHS)


def without_dropout(spec):
  """Keras draws other masks than the functional form."""
  nodes = []
  for node in spec.nodes:
    if isinstance(node.op, ops.Dropout):
      node = Node(node.name, ops.Dropout(0.0), node.inputs)
    nodes.append(node)
  return NetSpec(spec.input_shape, tuple(nodes))


def images(rng, spec, count=8):
  return tf.constant(
    rng.uniform(0, 1, (count, *spec.input_shape)).astype(np.float32)
  )


def loss(logits):
  labels = tf.range(len(logits)) % logits.shape[-1]
  return tf.reduce_mean(
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
  )


def keras_model(spec, params):
  model = keras.build(spec)
  keras.assign(model, params)
  return model


def assert_close(found, wanted, key=""):
  """To float tolerance of the whole tensor's size."""
  size = max(float(np.abs(wanted).max()), 1e-3)
  np.testing.assert_allclose(
    found, wanted, rtol=1e-3, atol=2e-5 * size, err_msg=key
  )


@EVERY_ARCH
def test_inference_agrees_with_keras(arch, lively, rng):
  spec, params = lively(arch)
  x = images(rng, spec)
  wanted = keras_model(spec, params)(x, training=False).numpy()
  found = forward(spec, params, x).numpy()
  assert wanted.std() > 1e-2  # dead nets would always agree
  assert_close(found, wanted)


@EVERY_ARCH
def test_training_agrees_with_keras_in_value_and_gradient(arch, lively, rng):
  spec, params = lively(arch)
  spec = without_dropout(spec)
  x = images(rng, spec)
  model = keras_model(spec, params)
  with tf.GradientTape() as tape:
    logits = model(x, training=True)
    value = loss(logits)
  variables = {k: v for k, v in keras.variables(model).items() if v.trainable}
  wanted = tape.gradient(value, variables)
  tensors = {k: tf.constant(v) for k, v in params.items()}
  with tf.GradientTape() as tape:
    tape.watch(tensors)
    found_logits = forward(spec, tensors, x, training=True, seed=(0, 1))
    value = loss(found_logits)
  found = tape.gradient(value, {k: tensors[k] for k in variables})
  assert_close(found_logits.numpy(), logits.numpy())
  assert set(variables) == set(spec.trainable_specs())
  for key in variables:
    assert_close(found[key].numpy(), wanted[key].numpy(), key)


def test_gradient_with_respect_to_the_images_agrees_with_keras(lively, rng):
  spec, params = lively("mbnetv2_bn")
  x = images(rng, spec)
  model = keras_model(spec, params)
  found, wanted = [], []
  for run, result in (
    (lambda: forward(spec, params, x), found),
    (lambda: model(x, training=False), wanted),
  ):
    with tf.GradientTape() as tape:
      tape.watch(x)
      value = loss(run())
    result.append(tape.gradient(value, x).numpy())
  assert_close(found[0], wanted[0])


def test_batch_statistics_stand_in_for_absent_moving_ones(lively, rng):
  spec, params = lively("basic_residual_bn")
  x = images(rng, spec)
  bare = {k: v for k, v in params.items() if "moving" not in k}
  found = forward(spec, bare, x).numpy()
  wanted = keras_model(without_dropout(spec), params)(x, training=True).numpy()
  assert_close(found, wanted)
  assert np.abs(found - forward(spec, params, x).numpy()).max() > 0.05


def test_it_runs_in_a_traced_graph_of_unknown_batch(lively, rng):
  spec, params = lively("dws_conv_bn")

  @tf.function(
    input_signature=[tf.TensorSpec([None, *spec.input_shape], tf.float32)]
  )
  def traced(x):
    return forward(spec, params, x)

  x = images(rng, spec)
  assert_close(traced(x).numpy(), forward(spec, params, x).numpy())


SMALL = NetSpec(
  (4, 4, 2),
  (
    Node("conv", ops.Conv(2, 1, use_bias=True), (INPUT,)),
    Node("relu", ops.Relu(), ("conv",)),
    Node("sum", ops.Add(), ("relu", INPUT)),
    Node("flat", ops.Flatten(), ("sum",)),
    Node("fc", ops.Dense(3), ("flat",)),
  ),
)


@pytest.fixture
def small(rng):
  params = {
    k: rng.normal(size=p.shape).astype(np.float32)
    for k, p in SMALL.param_specs().items()
  }
  return params, rng.normal(size=(2, 4, 4, 2)).astype(np.float32)


def test_taps_come_in_order_weights_before_their_output(small):
  calls = []

  def tap(kind, name, tensor):
    calls.append((kind, name))
    return tensor

  forward(SMALL, *small, tap=tap)
  assert calls == [
    ("input", "input"),
    ("weight", "conv/kernel"),
    ("weight", "conv/bias"),
    ("activation", "conv"),
    ("activation", "relu"),
    ("activation", "sum"),
    ("activation", "flat"),
    ("weight", "fc/kernel"),
    ("weight", "fc/bias"),
    ("activation", "fc"),
  ]


def replacing(wanted_kind, wanted_name, value):
  def tap(kind, name, tensor):
    hit = (kind, name) == (wanted_kind, wanted_name)
    return tf.ones_like(tensor) * value if hit else tensor

  return tap


@pytest.mark.parametrize(
  "kind, name",
  [
    ("input", "input"),
    ("weight", "conv/kernel"),
    ("activation", "sum"),
    ("activation", "fc"),
  ],
)
def test_taps_replace_values(small, kind, name):
  params, x = small
  found = forward(SMALL, params, x, tap=replacing(kind, name, 2.0)).numpy()
  p = dict(params)
  x = np.full_like(x, 2.0) if kind == "input" else x
  if kind == "weight":
    p[name] = np.full_like(p[name], 2.0)
  total = np.maximum(x @ p["conv/kernel"][0, 0] + p["conv/bias"], 0) + x
  if name == "sum":
    total = np.full_like(total, 2.0)
  wanted = total.reshape(2, -1) @ p["fc/kernel"] + p["fc/bias"]
  if name == "fc":
    wanted = np.full_like(wanted, 2.0)
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_each_dropout_draws_its_own_mask():
  spec = NetSpec(
    (8, 8, 4),
    (
      Node("a", ops.Dropout(), (INPUT,)),
      Node("b", ops.Dropout(), (INPUT,)),
      Node("both", ops.Concat(), ("a", "b")),
    ),
  )
  x = tf.ones([4, 8, 8, 4])
  y = forward(spec, {}, x, training=True, seed=(3, 4)).numpy()
  again = forward(spec, {}, x, training=True, seed=(3, 4)).numpy()
  np.testing.assert_array_equal(y, again)
  a, b = np.split(y, 2, axis=-1)
  # Independent masks agree in half of 1024 places, give or take five sigma.
  assert (a == b).mean() == pytest.approx(0.5, abs=5 * 0.5 / 32)


def test_adding_a_node_keeps_the_other_dropouts_masks():
  def masked(*extra):
    nodes = (*extra, Node("a", ops.Dropout(), (INPUT,)))
    spec = NetSpec((4, 4, 2), nodes)
    return forward(spec, {}, tf.ones([2, 4, 4, 2]), training=True, seed=(3, 4))

  other = Node("b", ops.Dropout(), (INPUT,))
  np.testing.assert_array_equal(masked(), masked(other))


def test_split_by_node():
  split = split_by_node({"a/kernel": 1, "a/bias": 2, "b.c/gamma": 3})
  assert split == {"a": {"kernel": 1, "bias": 2}, "b.c": {"gamma": 3}}
