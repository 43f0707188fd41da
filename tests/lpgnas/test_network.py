"""Whole networks: by hand, and the supernet as one of them."""

import numpy as np
import pytest
import tensorflow as tf

from qinit.errors import QinitError
from qinit.lpgnas.baselines import ARCHITECTURES
from qinit.lpgnas.network import Inputs, Sparse, activate, forward, plans
from qinit.lpgnas.pick import pick
from qinit.lpgnas.space import (
  ACTIVATIONS,
  ATTENTIONS,
  Architecture,
  Block,
  Space,
  attention_params,
  param_shapes,
)
from qinit.lpgnas.sparse import Pattern
from qinit.lpgnas.supernet import Supernet, initial_params


def test_activations_by_hand():
  x = tf.constant([-2.0, 0.0, 8.0])
  expected = {
    "none": [-2, 0, 8],
    "relu": [0, 0, 8],
    "leaky_relu": [-0.4, 0, 8],
    "relu6": [0, 0, 6],
    "elu": [np.exp(-2) - 1, 0, 8],
    "tanh": np.tanh([-2, 0, 8]),
    "sigmoid": 1 / (1 + np.exp([2, 0, -8])),
    "softplus": np.log1p(np.exp([-2, 0, 8])),
  }
  for kind, name in enumerate(ACTIVATIONS):
    np.testing.assert_allclose(activate(kind, x), expected[name], rtol=1e-6)


def dense(graph):
  x = np.zeros([graph.num_nodes, graph.num_features])
  x[graph.rows, graph.columns] = graph.values
  return x


def test_no_two_tensors_are_dropped_alike(random_graph):
  """JKNet reads three outputs of one shape: each has a dropout of its own."""
  arch = ARCHITECTURES["jknet"]
  shapes = param_shapes(arch, random_graph.num_features, 3)
  params = initial_params(shapes, 0)
  names = []

  def dropout(name, x):
    names.append(name)
    return x

  inputs = Inputs.of(random_graph)
  forward(params, inputs, *plans(arch), dropout=dropout)
  assert len(names) == len(set(names)) == 6


def test_a_gcn_with_a_skip_is_matrix_products(random_graph):
  """JKNet of two blocks: normalised adjacency, ReLU, concatenation."""
  blocks = (
    Block("gcn", "sum", "relu", 2, 4),
    Block("gcn", "sum", "none", 1, 6),
  )
  arch = Architecture(blocks, skips=(1,))
  shapes = param_shapes(arch, 12, 3)
  assert shapes["output/weight1"] == (4, 3)
  assert shapes["output/weight2"] == (6, 3)
  params = {
    name: np.random.default_rng(7).normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }
  adjacency = np.zeros([20, 20])
  adjacency[random_graph.target, random_graph.source] = 1
  root = 1 / np.sqrt(adjacency.sum(1))
  a = root[:, None] * adjacency * root
  x = dense(random_graph)
  first = np.maximum(
    a @ x @ params["block1/weight0"] + params["block1/bias"], 0
  )
  second = a @ first @ params["block2/weight1"] + params["block2/bias"]
  joined = np.concatenate([first, second], 1)
  weight = [params["output/weight1"], params["output/weight2"]]
  expected = joined @ np.concatenate(weight) + params["output/bias"]
  found = forward(params, Inputs.of(random_graph), *plans(arch))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_sparse_and_dense_features_agree(random_graph):
  arch = Architecture((Block("gat", "max", "elu", 2, 8),))
  params = initial_params(param_shapes(arch, 12, 3), 0)
  inputs = Inputs.of(random_graph)
  dense = inputs.features.numpy()
  rows, columns = np.nonzero(dense)
  pattern = Pattern.of(rows, columns, dense.shape)
  sparse = Sparse(pattern, tf.constant(dense[rows, columns]))
  found = forward(params, inputs._replace(features=sparse), *plans(arch))
  expected = forward(params, inputs, *plans(arch))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def one_hots(space, rng):
  """A random option everywhere: one-hots, and the options themselves."""
  marks, chosen = {}, {}
  for name, options in space.decisions().items():
    i = rng.integers(len(options))
    marks[name], chosen[name] = tf.one_hot(i, len(options)), options[i]
  return marks, chosen


def standardised(name, x):
  """What the supernet does to what a block aggregates, in NumPy."""
  if not name.endswith("/aggregate"):
    return x
  x = x.numpy()
  return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_supernet_is_the_network_that_is_sampled(random_graph, seed):
  space = Space(blocks=3, hidden=(8, 16))
  supernet = Supernet(space, 12, 3, seed)
  marks, chosen = one_hots(space, np.random.default_rng(seed))
  arch = space.architecture(chosen)
  params = {}
  for name, shape in param_shapes(arch, 12, 3).items():
    value = supernet.variables_by_name[name].numpy()
    part, kind = name.split("/")
    if kind in attention_params("generalized_linear"):
      block = arch.blocks[int(part[-1]) - 1]
      value = value[ATTENTIONS.index(block.attention)]
    params[name] = value[tuple(slice(n) for n in shape)]
  inputs = Inputs.of(random_graph)
  found, norm = supernet(inputs, marks, {}, lambda name, x: x)
  expected = forward(params, inputs, *plans(arch), standardised)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  assert float(norm) > 0


def test_pick_executes_one_branch_forward_and_back():
  executed = []

  def branch(number):
    def run(x):
      def note(value):
        executed.append(number)
        return value

      return number * tf.numpy_function(note, [x], tf.float32) + x * x

    return run

  branches = [branch(number) for number in range(3)]

  @tf.function
  def run(index, x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = pick(index, branches, x)
    return y, tape.gradient(y, x)

  y, gradient = run(tf.constant(2), tf.constant(3.0))
  assert (float(y), float(gradient)) == (2 * 3 + 9, 6)
  assert set(executed) == {2}


def test_impossible_networks_are_refused():
  block = Block("gcn", "sum", "relu", 1, 16)
  for make in (
    lambda: Block("gcn", "sum", "relu", 3, 16),
    lambda: Block("gcn", "sum", "relu", 16, 32),
    lambda: Block("gnc", "sum", "relu", 1, 16),
    lambda: Architecture((block, block), skips=(2,)),
    lambda: Space(blocks=5),
    lambda: Space(formats="int"),
  ):
    with pytest.raises(QinitError):
      make()


def test_architectures_are_data():
  block = Block("gcn", "sum", "relu", 1, 16)
  arch = Architecture((block,) * 3, skips=(1, 2))
  assert Architecture.from_dict(arch.to_dict()) == arch
  assert arch.sources(4) == (1, 2, 3)


def test_size_of_the_space():
  """Per block 7 attentions, 3 aggregations, 8 activations, 4 head counts and
  5 widths."""
  decisions = Space(blocks=2).decisions()
  sizes = [len(o) for n, o in decisions.items() if n.startswith("block1")]
  assert np.prod(sizes) == 3360
  assert len(Space(blocks=4).skips()) == 1 + 2 + 3
