import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qinit import keras
from qinit.archs import zoo
from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.rewrite import (
  Fold,
  fold_batch_norm,
  fold_plan,
  fold_spec,
  prune,
)
from qinit.graph.spec import INPUT, NetSpec, Node
from tests.quant_nets import random_params


def net(*nodes, input_shape=(6, 6, 3)):
  return NetSpec(input_shape, tuple(Node(*node) for node in nodes))


def factorised_reduction():
  """DARTS' halving of the map: two 1x1 convolutions, one a pixel aside."""
  return net(
    ("aside", ops.Slice(1, 1), (INPUT,)),
    ("left", ops.Conv(4, 1, 2), (INPUT,)),
    ("right", ops.Conv(2, 1, 2, use_bias=True), ("aside",)),
    ("cat", ops.Concat(), ("left", "right")),
    ("bn", ops.BatchNorm(epsilon=1e-5), ("cat",)),
    ("relu", ops.Relu(), ("bn",)),
  )


def chain(op):
  return net(
    ("conv", op, (INPUT,)),
    ("bn", ops.BatchNorm(), ("conv",)),
    ("relu", ops.Relu(), ("bn",)),
  )


def images(spec, count=4):
  rng = np.random.default_rng(5)
  return rng.uniform(0, 1, (count, *spec.input_shape)).astype(np.float32)


def assert_folds_exactly(spec):
  """The folded network agrees with Keras' own BatchNorm."""
  params, x = random_params(spec, 3), images(spec)
  model = keras.build(spec)
  keras.assign(model, params)
  folded, folded_params = fold_batch_norm(spec, params)
  wanted = model(x, training=False).numpy()
  found = forward(folded, folded_params, x).numpy()
  assert wanted.std() > 1e-2
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
  return folded, folded_params


def test_equation_4_by_hand():
  # gamma 3, sigma sqrt(3 + 1) = 2, so the scale is 1.5.
  spec = net(
    ("conv", ops.Conv(1, 1, use_bias=True), (INPUT,)),
    ("bn", ops.BatchNorm(epsilon=0.0), ("conv",)),
    input_shape=(1, 1, 2),
  )
  folded, params = fold_batch_norm(
    spec,
    {
      "conv/kernel": np.array([2.0, -4.0]).reshape(1, 1, 2, 1),
      "conv/bias": np.array([1.0]),
      "bn/gamma": np.array([3.0]),
      "bn/beta": np.array([0.5]),
      "bn/moving_mean": np.array([5.0]),
      "bn/moving_variance": np.array([4.0]),
    },
  )
  assert [n.name for n in folded.nodes] == ["conv"]
  assert params["conv/kernel"].ravel().tolist() == [3.0, -6.0]
  assert params["conv/bias"].tolist() == [0.5 + (1 - 5) * 1.5]


def test_epsilon_is_added_to_the_variance():
  spec = net(
    ("conv", ops.Conv(1, 1), (INPUT,)),
    ("bn", ops.BatchNorm(epsilon=0.75), ("conv",)),
  )
  ones = {k: np.ones(p.shape) for k, p in spec.param_specs().items()}
  ones["bn/moving_variance"] *= 0.25
  ones["bn/gamma"] *= 4
  _, params = fold_batch_norm(spec, ones)
  np.testing.assert_allclose(params["conv/kernel"], 4.0)
  np.testing.assert_allclose(params["conv/bias"], 1 - 4.0)


@pytest.mark.parametrize("arch", [a for a in zoo.ARCHS if "no_bn" not in a])
def test_folded_zoo_nets_agree_with_keras(arch):
  spec = zoo.build(arch, 0.125, input_shape=(16, 16, 3))
  folded, params = assert_folds_exactly(spec)
  assert not any(isinstance(n.op, ops.BatchNorm) for n in folded.nodes)
  assert set(params) == set(folded.param_specs())


def test_a_net_without_batch_norm_stays_as_it_is(lively):
  spec, params = lively("mbnetv2_no_bn")
  folded, same = fold_batch_norm(spec, params)
  assert folded == spec and same == params


@pytest.mark.parametrize(
  "op",
  [
    ops.Conv(4, 3, 2, use_bias=True),
    ops.Conv(4, 3, dilation=2),
    ops.DepthwiseConv(3, 2, 2, "symmetric"),
    ops.DepthwiseConv(5, 1, 2, use_bias=True),
  ],
)
def test_folded_convolutions_agree_with_keras(op):
  folded, _ = assert_folds_exactly(chain(op))
  assert [n.name for n in folded.nodes] == ["conv", "relu"]
  assert folded.node("conv").op.use_bias


def test_batch_norm_behind_a_concat_is_split():
  spec = factorised_reduction()
  assert fold_plan(spec) == {"bn": (Fold("left", 0, 4), Fold("right", 4, 6))}
  folded, _ = assert_folds_exactly(spec)
  assert [n.name for n in folded.nodes] == [
    "aside",
    "left",
    "right",
    "cat",
    "relu",
  ]


@pytest.mark.parametrize(
  "nodes",
  [
    pytest.param(
      [
        ("conv", ops.Conv(3), (INPUT,)),
        ("bn", ops.BatchNorm(), ("conv",)),
        ("sum", ops.Add(), ("conv", "bn")),
      ],
      id="its convolution has another reader",
    ),
    pytest.param([("bn", ops.BatchNorm(), (INPUT,))], id="it reads the input"),
    pytest.param(
      [
        ("conv", ops.Conv(3), (INPUT,)),
        ("relu", ops.Relu(), ("conv",)),
        ("bn", ops.BatchNorm(), ("relu",)),
      ],
      id="it reads a ReLU",
    ),
    pytest.param(
      [
        ("conv", ops.Conv(3), (INPUT,)),
        ("cat", ops.Concat(), ("conv", INPUT)),
        ("bn", ops.BatchNorm(), ("cat",)),
      ],
      id="one part of its concat is no convolution",
    ),
    pytest.param(
      [
        ("conv", ops.Conv(3), (INPUT,)),
        ("cat", ops.Concat(), ("conv", "conv")),
        ("bn", ops.BatchNorm(), ("cat",)),
      ],
      id="its concat reads a convolution twice",
    ),
    pytest.param(
      [
        ("conv", ops.Conv(3), (INPUT,)),
        ("conv2", ops.Conv(3), (INPUT,)),
        ("cat", ops.Concat(), ("conv", "conv2")),
        ("bn", ops.BatchNorm(), ("cat",)),
        ("both", ops.Concat(), ("bn", "conv")),
      ],
      id="a part of its concat has another reader",
    ),
  ],
)
def test_batch_norm_stays_where(nodes):
  spec = net(*nodes)
  assert fold_plan(spec) == {}
  assert_folds_exactly(spec)


def test_only_the_first_of_two_batch_norms_folds():
  spec = net(
    ("conv", ops.Conv(4), (INPUT,)),
    ("bn1", ops.BatchNorm(), ("conv",)),
    ("bn2", ops.BatchNorm(), ("bn1",)),
  )
  folded, _ = assert_folds_exactly(spec)
  assert [n.name for n in folded.nodes] == ["conv", "bn2"]
  assert folded.node("bn2").inputs == ("conv",)


def test_a_dead_branch_does_not_become_the_output():
  spec = net(
    ("conv", ops.Conv(4), (INPUT,)),
    ("dead", ops.Relu(), (INPUT,)),
    ("bn", ops.BatchNorm(), ("conv",)),
  )
  assert fold_spec(spec).output == "conv"
  assert_folds_exactly(spec)


def test_gradients_flow_through_folding():
  # Two ways to the same loss: through the BatchNorm and through the fold.
  spec = factorised_reduction()
  params = {k: tf.constant(v) for k, v in random_params(spec, 3).items()}
  x = images(spec)

  def gradient(loss):
    with tf.GradientTape() as tape:
      tape.watch(params)
      value = loss()
    return tape.gradient(value, params)

  found = gradient(
    lambda: tf.reduce_sum(forward(*fold_batch_norm(spec, params), x) ** 2)
  )
  wanted = gradient(lambda: tf.reduce_sum(forward(spec, params, x) ** 2))
  for key in params:
    np.testing.assert_allclose(
      found[key], wanted[key], rtol=1e-3, atol=1e-3, err_msg=key
    )


def test_folding_leaves_the_callers_parameters_alone():
  spec = chain(ops.Conv(4, use_bias=True))
  params = random_params(spec, 3)
  before = {k: v.copy() for k, v in params.items()}
  fold_batch_norm(spec, params)
  assert set(params) == set(before)
  for key in before:
    np.testing.assert_array_equal(params[key], before[key])


def test_prune_keeps_what_the_output_needs():
  spec = net(
    ("a", ops.Relu(), (INPUT,)),
    ("dead_end", ops.Conv(2), ("a",)),
    ("b", ops.Conv(3), ("a",)),
    ("dead_end_2", ops.Relu(), ("dead_end",)),
    ("out", ops.Add(), ("a", "b")),
  )
  pruned = prune(spec)
  assert [n.name for n in pruned.nodes] == ["a", "b", "out"]
  assert prune(pruned) == pruned


def test_keras_batch_norm_is_the_oracle_used_here():
  layer = chain(ops.Conv(2)).node("bn").op.keras_layer("bn")
  assert type(layer) is tf_keras.layers.BatchNormalization
