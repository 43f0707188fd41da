import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qinit.errors import SpecError
from qinit.graph import ops
from tests import oracles
from tests.cases import BATCH, CASES

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
WINDOWS = [
  c
  for c in CASES
  if c.op.name in ("conv", "depthwise_conv")
  or (c.op.name == "pool" and c.op.kind == "avg")
]
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


def keras_model(case):
  """A model of the case's layer alone, its parameters in it, by role."""
  inputs = [tf_keras.Input(shape) for shape in case.shapes]
  layer = case.op.keras_layer("node")
  model = tf_keras.Model(
    inputs, layer(inputs if len(inputs) > 1 else inputs[0])
  )
  variables = {w.name.split("/")[1].split(":")[0]: w for w in layer.weights}
  for role, value in case.params().items():
    variables[role].assign(value)
  return model, variables


def upstream(case):
  """A fixed gradient from above."""
  shape = (BATCH, *case.output)
  return np.random.default_rng(4).normal(size=shape).astype(np.float32)


def gradients(case, run, inputs, params):
  """Output, and its gradients contracted with `upstream`, as arrays."""
  trained = {k: v for k, v in params.items() if not k.startswith("moving")}
  with tf.GradientTape() as tape:
    tape.watch([inputs, trained])
    y = run()
  found = tape.gradient(
    y,
    [inputs, trained],
    upstream(case),
    unconnected_gradients=tf.UnconnectedGradients.ZERO,
  )
  return tf.nest.map_structure(lambda t: t.numpy(), (y, *found))


def functional_gradients(case, training=False):
  inputs = [tf.constant(x) for x in case.inputs()]
  params = {k: tf.constant(v) for k, v in case.params().items()}
  return gradients(
    case,
    lambda: case.op.apply(params, *inputs, training=training),
    inputs,
    params,
  )


def keras_gradients(case, training=False):
  model, variables = keras_model(case)
  inputs = [tf.constant(x) for x in case.inputs()]
  return gradients(
    case, lambda: model(inputs, training=training), inputs, variables
  )


def assert_close(found, wanted, **tolerance):
  for got, want in zip(
    tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True
  ):
    np.testing.assert_allclose(got, want, **(TOLERANCE | tolerance))


def test_every_op_has_a_case():
  assert {c.op.name for c in CASES} == set(ops.TABLE)


def test_every_choice_of_an_attribute_has_a_case():
  cases = [c.op.to_dict() | vars(c.op) for c in CASES]
  for name, choices in (
    ("padding", {"same", "symmetric"}),
    ("kind", {"max", "avg"}),
    ("order", {"hwc", "chw"}),
    ("use_bias", {False, True}),
  ):
    assert {c[name] for c in cases if name in c} == choices


def test_case_ids_are_unique():
  assert len({c.id for c in CASES}) == len(CASES)


@EVERY_CASE
def test_output_shape(case):
  assert case.op.output_shape(*case.shapes) == case.output
  y = case.op.apply(case.params(), *map(tf.constant, case.inputs()))
  assert y.shape == (BATCH, *case.output)
  assert y.dtype == tf.float32


@EVERY_CASE
def test_keras_layer_has_the_tables_shape_and_parameters(case):
  layer = case.op.keras_layer("node")
  shapes = [tf.TensorShape([None, *s]) for s in case.shapes]
  inputs = [tf_keras.Input(s) for s in case.shapes]
  y = layer(inputs if len(inputs) > 1 else inputs[0])
  assert y.shape.as_list() == [None, *case.output]
  computed = layer.compute_output_shape(
    shapes if len(shapes) > 1 else shapes[0]
  )
  assert tf.TensorShape(computed).as_list() == [None, *case.output]
  wanted = case.op.param_shapes(*case.shapes)
  found = {w.name: tuple(w.shape) for w in layer.weights}
  assert found == {f"node/{role}:0": s for role, s in wanted.items()}


@EVERY_CASE
def test_functional_output_agrees_with_numpy(case):
  y = case.op.apply(case.params(), *map(tf.constant, case.inputs()))
  assert_close(y.numpy(), oracles.output(case, case.params(), case.inputs()))


@EVERY_CASE
def test_keras_agrees_in_value_and_gradient(case):
  assert_close(keras_gradients(case), functional_gradients(case))


@pytest.mark.parametrize(
  "case", [c for c in CASES if c.op.name == "batch_norm"], ids=lambda c: c.id
)
def test_batch_norm_in_training_agrees_with_keras_and_numpy(case):
  found = functional_gradients(case, training=True)
  assert_close(keras_gradients(case, training=True), found)
  # The textbook's backward pass, in float64.
  (x,), p = case.inputs(), case.params()
  x, g = x.astype(np.float64), upstream(case).astype(np.float64)
  axes = tuple(range(x.ndim - 1))
  sigma = np.sqrt(x.var(axes) + case.op.epsilon)
  z = (x - x.mean(axes)) / sigma
  grad_x = p["gamma"] / sigma * (g - g.mean(axes) - z * (g * z).mean(axes))
  wanted = {"gamma": (g * z).sum(axes), "beta": g.sum(axes)}
  assert_close(found, (z * p["gamma"] + p["beta"], [grad_x], wanted))


@EVERY_CASE
def test_keras_layer_survives_its_config(case):
  model, _ = keras_model(case)
  copy = tf_keras.Model.from_config(model.get_config())
  copy.set_weights(model.get_weights())
  inputs = case.inputs()
  np.testing.assert_array_equal(copy(inputs), model(inputs))


@pytest.mark.parametrize("case", WINDOWS, ids=lambda c: c.id)
def test_gradients_of_windows_agree_with_numpy(case):
  _, (grad_x,), grads = functional_gradients(case)
  wanted_x, wanted_kernel = oracles.window_gradients(
    case, case.params(), case.inputs()[0], upstream(case)
  )
  assert_close(grad_x, wanted_x)
  if wanted_kernel is not None:
    role = next(k for k in grads if k.endswith("kernel"))
    assert_close(grads[role], wanted_kernel)
  if "bias" in grads:
    assert_close(grads["bias"], upstream(case).sum((0, 1, 2)))


@pytest.mark.parametrize(
  "case",
  [c for c in CASES if c.op == ops.Pool("max", 3, 2, "symmetric")],
  ids=lambda c: c.id,
)
def test_max_pool_gradient_goes_to_the_largest_pixel(case):
  (x,), g = case.inputs(), upstream(case)
  _, (found,), _ = functional_gradients(case)
  wanted = np.zeros_like(x)
  for b, i, j, c in np.ndindex(g.shape):
    rows = slice(max(2 * i - 1, 0), 2 * i + 2)
    columns = slice(max(2 * j - 1, 0), 2 * j + 2)
    patch = x[b, rows, columns, c]
    wanted[b, rows, columns, c][patch == patch.max()] += g[b, i, j, c]
  assert_close(found, wanted)


@pytest.mark.parametrize(
  "op, shape",
  [
    (ops.Conv(2), (4, 4, 2)),
    (ops.Conv(2, 3, 2, padding="symmetric"), (4, 4, 2)),
    (ops.Conv(2, (1, 7), (1, 2)), (4, 4, 2)),
    (ops.DepthwiseConv(3, 2), (4, 4, 2)),
    (ops.Pool("max", 3, 2), (4, 4, 2)),
    (ops.Pool("avg", 3), (4, 4, 2)),
  ],
)
def test_plain_rows_train_as_native_keras_layers(op, shape):
  # Where symmetric padding differs from Keras, the layer must be ours.
  native = type(op.keras_layer("n")).__module__.startswith("tf_keras.")
  assert native == (getattr(op, "padding", "same") == "same")


def test_symmetric_and_same_padding_differ_at_stride_two():
  x = tf.reshape(tf.range(16.0), [1, 4, 4, 1])
  kernel = {"kernel": tf.ones([3, 3, 1, 1])}
  same = ops.Conv(1, 3, 2).apply(kernel, x)[0, :, :, 0]
  symmetric = ops.Conv(1, 3, 2, padding="symmetric").apply(kernel, x)
  # Windows start at row 0 or at row -1.
  assert same.numpy().tolist() == [[45, 39], [66, 50]]
  assert symmetric[0, :, :, 0].numpy().tolist() == [[10, 24], [51, 90]]


def test_dilated_strided_depthwise_by_hand():
  x = tf.reshape(tf.range(25.0), [1, 5, 5, 1])
  op = ops.DepthwiseConv(3, 2, 2, "symmetric")
  y = op.apply({"depthwise_kernel": tf.ones([3, 3, 1, 1])}, x)
  # Corner: taps at rows and columns 0 and 2; centre: 0, 2 and 4.
  assert y[0, 0, 0, 0] == 0 + 2 + 10 + 12
  assert y[0, 1, 1, 0] == 9 * 12


def test_max_pool_pads_with_nothing_rather_than_zero():
  x = -tf.ones([1, 4, 4, 1])
  for padding in ("same", "symmetric"):
    y = ops.Pool("max", 3, 2, padding).apply({}, x)
    assert (y.numpy() == -1).all()


def test_batch_norm_without_moving_statistics_uses_the_batch():
  case = next(c for c in CASES if c.op.name == "batch_norm")
  params = {k: v for k, v in case.params().items() if "moving" not in k}
  y = case.op.apply(params, *case.inputs())
  trained = case.op.apply(case.params(), *case.inputs(), training=True)
  assert_close(y.numpy(), trained.numpy())


class TestDropout:
  x = tf.ones([100, 100])

  def apply(self, rate=0.25, seed=(1, 2), training=True):
    op = ops.Dropout(rate)
    return op.apply({}, self.x, training=training, seed=seed).numpy()

  def test_zeroes_its_share_and_scales_up_the_rest(self):
    y = self.apply()
    kept = y[y != 0]
    np.testing.assert_allclose(kept, 1 / 0.75, rtol=1e-6)
    # Five standard deviations of a binomial share.
    assert kept.size / 1e4 == pytest.approx(0.75, abs=5 * 0.0043)

  def test_is_a_function_of_the_seed(self):
    np.testing.assert_array_equal(self.apply(), self.apply())
    agree = (self.apply() == self.apply(seed=(1, 3))).mean()
    assert agree == pytest.approx(0.75**2 + 0.25**2, abs=5 * 0.005)

  def test_does_nothing_in_inference(self):
    assert (self.apply(training=False, seed=None) == 1).all()

  def test_in_training_needs_a_seed(self):
    with pytest.raises(ValueError, match="seed"):
      self.apply(seed=None)

  def test_rate_zero_keeps_everything(self):
    assert (self.apply(rate=0.0) == 1).all()

  def test_keras_layer_has_the_same_statistics(self):
    layer = ops.Dropout(0.25).keras_layer("drop")
    first, second = (layer(self.x, training=True).numpy() for _ in range(2))
    for y in (first, second):
      np.testing.assert_allclose(y[y != 0], 1 / 0.75, rtol=1e-6)
      assert (y != 0).mean() == pytest.approx(0.75, abs=5 * 0.0043)
    assert (first != second).any()
    assert (layer(self.x, training=False).numpy() == 1).all()

  def test_keras_layer_draws_what_its_generators_state_says(self):
    layer = ops.Dropout(0.5).keras_layer("drop")
    layer.generator.reset_from_seed(7)
    first = layer(self.x, training=True).numpy()
    layer.generator.reset_from_seed(7)
    np.testing.assert_array_equal(layer(self.x, training=True), first)


@pytest.mark.parametrize(
  "attributes, message",
  [
    ({"op": "convolution"}, "unknown op 'convolution'"),
    ({"op": ["conv"]}, "unknown op"),
    ({}, "unknown op None"),
    ({"op": "relu", "filters": 2}, "no attribute 'filters'"),
    ({"op": "conv", "filters": 0}, "conv.filters must be in 1"),
    ({"op": "conv", "filters": 2.0}, "must be an integer"),
    ({"op": "conv", "filters": True}, "must be an integer"),
    ({"op": "conv", "filters": 1 << 21}, "must be in"),
    ({"op": "conv", "kernel_size": 4}, "must be odd, not 4"),
    ({"op": "conv", "kernel_size": [3]}, "one or two integers"),
    ({"op": "conv", "kernel_size": [3, "3"]}, "must be an integer"),
    ({"op": "conv", "strides": "2"}, "one or two integers"),
    ({"op": "conv", "padding": "symetric"}, "did you mean symmetric"),
    ({"op": "conv", "padding": 1}, "must be a name"),
    ({"op": "conv", "use_bias": 1}, "must be true or false"),
    ({"op": "depthwise_conv", "strides": [1, 2]}, "same stride in both"),
    ({"op": "pool", "kind": "sum"}, "choose from max, avg"),
    ({"op": "pool", "size": 2}, "must be odd"),
    ({"op": "dropout", "rate": 1}, "at least 0 and below 1"),
    ({"op": "dropout", "rate": float("nan")}, "at least 0 and below 1"),
    ({"op": "dropout", "rate": "half"}, "must be a number"),
    ({"op": "dropout", "rate": True}, "must be a number"),
    ({"op": "slice", "offset": -1}, "must be in 0"),
    (["conv"], "must be an object"),
  ],
)
def test_bad_attributes_are_refused(attributes, message):
  with pytest.raises(SpecError, match=message):
    ops.from_dict(attributes)


@EVERY_CASE
def test_an_op_survives_its_dict(case):
  assert ops.from_dict(case.op.to_dict()) == case.op


def test_one_integer_stands_for_both_directions():
  assert ops.Conv(2, 5, 2) == ops.Conv(2, (5, 5), (2, 2))


def test_primitives_name_every_trained_parameter():
  for case in CASES:
    roles = [r for p in case.op.primitives(*case.shapes) for r in p.roles]
    wanted = case.op.param_shapes(*case.shapes)
    assert sorted(roles) == sorted(r for r in wanted if "moving" not in r)


def test_primitive_of_a_kernel_has_pytorchs_axes():
  conv = ops.Conv(5, (1, 7)).primitives((8, 8, 3))[0]
  assert (conv.name, conv.shape) == ("conv", (5, 3, 1, 7))
  depthwise = ops.DepthwiseConv(3, dilation=2).primitives((8, 8, 6))[0]
  assert (depthwise.name, depthwise.shape) == ("dil_conv", (6, 1, 3, 3))
