"""Sparse message passing against dense matrices in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from qinit.lpgnas import slices
from qinit.lpgnas.message import Edges, aggregate, coefficients
from qinit.lpgnas.network import no_tap
from qinit.lpgnas.space import AGGREGATIONS, ATTENTIONS
from qinit.lpgnas.sparse import Pattern, product

HEADS, WIDTH = 2, 3


@pytest.fixture
def setting(random_graph, rng):
  """Edges, states [N, H, C] and attention vectors [H, C]."""
  h = rng.normal(size=[random_graph.num_nodes, HEADS, WIDTH])
  vectors = {
    name: rng.normal(size=[HEADS, WIDTH]) for name in ("left", "right", "mix")
  }
  return random_graph, h, vectors


def dense_alpha(kind, h, vectors, adjacency):
  """[N, N, H], rows i, columns j; 0 without an edge."""
  degree = adjacency.sum(1)
  edge = adjacency[:, :, None].astype(float)
  if kind == "const":
    return np.repeat(edge, HEADS, 2)
  if kind == "gcn":
    return (
      np.repeat(edge, HEADS, 2) / np.sqrt(np.outer(degree, degree))[:, :, None]
    )
  left, right = vectors["left"] * h, vectors["right"] * h
  i, j = np.s_[:, None], np.s_[None, :]
  leaky = lambda x: np.where(x > 0, x, 0.2 * x)  # noqa: E731
  l, r = left.sum(-1), right.sum(-1)
  both = left[i] + right[j]
  scores = {
    "gat": lambda: leaky(l[i] + r[j]),
    "gat_sym": lambda: leaky(l[i] + r[j]) + leaky(l[j] + r[i]),
    "cos": lambda: (left[i] * right[j]).sum(-1),
    "linear": lambda: np.tanh(l[i] + r[j]),
    "generalized_linear": lambda: (np.tanh(both) * vectors["mix"]).sum(-1),
  }[kind]()
  powers = np.exp(scores) * edge
  return powers / powers.sum(1, keepdims=True)


def dense_aggregate(kind, alpha, h, adjacency):
  messages = alpha[..., None] * h[None]
  if kind == "max":
    hidden = np.where(adjacency[:, :, None, None], messages, -np.inf)
    return hidden.max(1)
  total = messages.sum(1)
  degree = adjacency.sum(1)[:, None, None]
  return total / degree if kind == "mean" else total


def sparse(kind, how, graph, h, vectors):
  edges = Edges.of(graph)
  h = tf.cast(h, tf.float32)
  vectors = {k: tf.cast(v, tf.float32) for k, v in vectors.items()}
  alpha = coefficients(kind, h, vectors, edges, no_tap, "block1")
  return aggregate(how, alpha, h, edges)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_equal_to_the_dense_oracle(setting, attention, aggregation):
  graph, h, vectors = setting
  adjacency = np.zeros([graph.num_nodes] * 2, bool)
  adjacency[graph.target, graph.source] = True
  alpha = dense_alpha(attention, h, vectors, adjacency)
  expected = dense_aggregate(aggregation, alpha, h, adjacency)
  numbers = ATTENTIONS.index(attention), AGGREGATIONS.index(aggregation)
  found = sparse(*numbers, graph, h, vectors)
  np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", range(len(ATTENTIONS)))
def test_a_choice_at_run_time_is_the_same_forward_and_back(setting, kind):
  graph, h, vectors = setting
  h = tf.constant(h, tf.float32)
  weight = tf.random.stateless_normal(h.shape, [1, 2])

  def run(numbers):
    with tf.GradientTape() as tape:
      tape.watch(h)
      y = sparse(*numbers, graph, h, vectors)
      loss = tf.reduce_sum(y * weight)
    return y, tape.gradient(loss, h)

  how = kind % len(AGGREGATIONS)
  for a, b in zip(run((kind, how)), run(tf.constant([kind, how])), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def gathered_sum(alpha, h, edges):
  messages = alpha[:, :, None] * tf.gather(h, edges.source)
  return tf.math.segment_sum(messages, edges.target)


def test_gradients_of_the_two_products(setting, rng):
  graph, h, _ = setting
  edges, h = Edges.of(graph), tf.constant(h, tf.float32)
  shape = [len(graph.source), HEADS]
  alpha = tf.constant(rng.normal(size=shape), tf.float32)

  def gradients(summed):
    with tf.GradientTape() as tape:
      tape.watch([alpha, h])
      loss = tf.reduce_sum(tf.square(summed(alpha, h, edges)))
    return tape.gradient(loss, [alpha, h])

  def ours(alpha, h, edges):
    return product(edges.pattern, alpha, h)

  ours, plain = gradients(ours), gradients(gathered_sum)
  for a, b in zip(ours, plain, strict=True):
    np.testing.assert_allclose(a, tf.convert_to_tensor(b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  "attention, aggregation", [("cos", "sum"), ("generalized_linear", "max")]
)
def test_slices_change_nothing(setting, attention, aggregation, monkeypatch):
  graph, h, vectors = setting
  numbers = ATTENTIONS.index(attention), AGGREGATIONS.index(aggregation)
  h = tf.constant(h, tf.float32)

  def run():
    with tf.GradientTape() as tape:
      tape.watch(h)
      y = sparse(*numbers, graph, h, vectors)
    return y, tape.gradient(y, h)

  whole = run()
  for name in ("BUDGET", "SLICE"):
    monkeypatch.setattr(slices, name, len(graph.source) * HEADS)  # of one
  for a, b in zip(whole, run(), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_permuting_the_nodes_permutes_the_result(setting, rng):
  graph, h, vectors = setting
  order = rng.permutation(graph.num_nodes)
  place = np.argsort(order)
  source, target = place[graph.source], place[graph.target]
  by_target = np.argsort(target, kind="stable")
  import dataclasses

  moved = dataclasses.replace(
    graph,
    source=source[by_target].astype(np.int32),
    target=target[by_target].astype(np.int32),
  )
  gat = ATTENTIONS.index("gat")
  np.testing.assert_allclose(
    sparse(gat, 0, moved, h[order], vectors),
    sparse(gat, 0, graph, h, vectors).numpy()[order],
    rtol=1e-5,
    atol=1e-6,
  )


def test_memory_is_linear_in_the_edges():
  # A matrix of 200,000 x 200,000 would take 160 GB.
  nodes = 200_000
  ring = np.arange(nodes)
  pattern = Pattern.of(ring, np.roll(ring, 1), (nodes, nodes))
  edges = Edges(pattern, tf.ones([nodes]))
  h = tf.constant(ring[:, None, None], tf.float32)
  y = aggregate(0, tf.ones([nodes, 1]), h, edges)
  np.testing.assert_array_equal(y, tf.roll(h, 1, 0))
