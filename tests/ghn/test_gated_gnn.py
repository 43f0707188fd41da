"""Level-wise message passing against the node-by-node definition."""

import numpy as np
import pytest
import tensorflow as tf

from qinit.archs import darts, genotype, zoo
from qinit.ghn import gated_gnn
from qinit.ghn.config import GHN_1, GHN_2
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.weights import initial_weights
from qinit.graph.sweep import LANES
from qinit.graph.view import GhnGraph, view

ARCHS = ("dws_conv_bn", "basic_residual_no_bn", "mbnetv2_bn")


def graphs(cutoff=50):
  edges = (
    ("sep_conv_3x3", 0),
    ("conv_1x1", 1),
    ("none", 0),
    ("avg_pool_3x3", 2),
  )
  cells = genotype.Genotype(edges, (2, 3), edges, (2, 3))
  net = darts.build(genotype.NetConfig(cells, 5, 16))
  return [view(s, cutoff) for s in [*map(zoo.build, ARCHS), net]]


def mlp(weights, name, h):
  h = np.maximum(
    h @ weights[f"{name}.fc.0.weight"] + weights[f"{name}.fc.0.bias"], 0
  )
  h = h @ weights[f"{name}.fc.2.weight"] + weights[f"{name}.fc.2.bias"]
  return np.maximum(h, 0)


def gru(weights, m, h):
  def sigmoid(x):
    return 1 / (1 + np.exp(-x))

  gates = m @ weights["gnn.gru.weight_ih"] + weights["gnn.gru.bias_ih"]
  own = h @ weights["gnn.gru.weight_hh"] + weights["gnn.gru.bias_hh"]
  (r, z, n), (hr, hz, hn) = np.split(gates, 3), np.split(own, 3)
  z = sigmoid(z + hz)
  return (1 - z) * np.tanh(n + sigmoid(r + hr) * hn) + z * h


def sequential(weights, x, graph):
  """One node after the other, every message anew, in float64."""
  weights = {k: np.asarray(v, np.float64) for k, v in weights.items()}
  h, nodes = x.astype(np.float64), range(len(graph))
  for order, distance in (
    (nodes, graph.distance.T),
    (reversed(nodes), graph.distance),
  ):
    for v in order:
      m = np.zeros(h.shape[1])
      for u in np.flatnonzero(distance[v]):
        d = float(distance[v, u])
        m += mlp(weights, "gnn.mlp", h[u]) if d == 1 else 0
        if "gnn.mlp_ve.fc.0.weight" in weights:
          m += mlp(weights, "gnn.mlp_ve", h[u]) / d
      h[v] = gru(weights, m, h[v])
  return h


def level_wise(weights, x, meta_batch):
  weights = {k: tf.constant(v) for k, v in weights.items()}
  return swept(weights, tf.constant(x), meta_batch).numpy()


@pytest.mark.parametrize("config", [GHN_2, GHN_1], ids=["ghn2", "ghn1"])
@pytest.mark.parametrize("cutoff", [10, 50])
def test_sequential_and_level_wise_agree(config, cutoff, rng):
  meta_batch = graphs(cutoff)
  weights = initial_weights(config)
  xs = [rng.normal(size=(len(g), 32)).astype(np.float32) for g in meta_batch]
  states = level_wise(weights, np.concatenate(xs), meta_batch)
  one_by_one = [
    sequential(weights, x, g) for x, g in zip(xs, meta_batch, strict=True)
  ]
  np.testing.assert_allclose(
    states, np.concatenate(one_by_one), rtol=0, atol=1e-6
  )
  alone = [
    level_wise(weights, x, [g]) for x, g in zip(xs, meta_batch, strict=True)
  ]
  np.testing.assert_allclose(states, np.concatenate(alone), rtol=0, atol=1e-6)


def reordered(graph, rng):
  """(graph, order): its nodes in another topological order."""
  left, order = [len(p) for p in graph.predecessors], []
  ready = [v for v, count in enumerate(left) if not count]
  while ready:
    u = ready.pop(rng.integers(len(ready)))
    order.append(u)
    for v, before in enumerate(graph.predecessors):
      left[v] -= u in before
      if u in before and not left[v]:
        ready.append(v)
  rank = {v: i for i, v in enumerate(order)}
  return GhnGraph(
    tuple(graph.names[v] for v in order),
    graph.primitive[order],
    graph.shape[order],
    tuple(graph.keys[v] for v in order),
    tuple(tuple(sorted(rank[u] for u in graph.predecessors[v])) for v in order),
    graph.distance[np.ix_(order, order)],
    graph.virtual_edge,
  ), order


def test_any_topological_order_gives_the_same(rng):
  ghn = HyperNet(GHN_2)
  for graph in (graphs()[1], graphs()[3]):
    other, order = reordered(graph, rng)
    assert order != sorted(order)
    np.testing.assert_allclose(
      ghn.embed([other]), ghn.embed([graph]).numpy()[order], rtol=0, atol=1e-6
    )


def test_schedules():
  for meta_batch in ([graphs()[0]], graphs()):
    forward, backward = gated_gnn.schedules(meta_batch)
    first = 0
    for graph in meta_batch:
      own = slice(first, first + len(graph))
      ahead = forward.place[own] // LANES
      behind = backward.place[own] // LANES
      for v, before in enumerate(graph.predecessors):
        assert all(ahead[u] < ahead[v] for u in before)
        assert all(behind[u] > behind[v] for u in before)
      first += len(graph)
    assert len(set(forward.place)) == len(set(backward.place)) == first


def test_gradient_against_automatic_differentiation(rng):
  """The gradient of the fixed point is that of the unrolled recursion."""
  edges = (("conv_1x1", 0), ("skip_connect", 1))
  cells = genotype.Genotype(edges, (2,), edges, (2,))
  graph = view(darts.build(genotype.NetConfig(cells, 1, 16)))
  weights = {k: tf.constant(v) for k, v in initial_weights(GHN_2).items()}
  names = [n for n in weights if n.startswith("gnn.")]
  x = tf.constant(rng.normal(size=(len(graph), 32)), tf.float32)
  upstream = tf.constant(rng.normal(size=x.shape), tf.float32)
  found = []
  for run in (swept, unrolled):
    with tf.GradientTape() as tape:
      tape.watch([x, weights])
      h = run(weights, x, [graph])
    sources = [x] + [weights[n] for n in names]
    gradients = tape.gradient(h, sources, upstream)
    found.append([tf.convert_to_tensor(g) for g in gradients])
  for ours, theirs in zip(*found, strict=True):
    largest = float(tf.reduce_max(tf.abs(theirs)))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * largest)


@tf.function(autograph=False)
def propagated(weights, rows, plan):
  return gated_gnn.propagate(rows, gated_gnn.cell_weights(weights), plan)


def swept(weights, x, meta_batch):
  forward, backward = gated_gnn.schedules(meta_batch)
  plan = gated_gnn.arguments(forward, backward)
  rows = propagated(weights, tf.gather(x, forward.node), plan)
  return tf.gather(rows, backward.place)


def unrolled(weights, x, meta_batch):
  (graph,) = meta_batch
  cell = gated_gnn.cell_weights(weights)
  for reverse, distance in ((False, graph.distance.T), (True, graph.distance)):
    near = np.float32(distance == 1)
    far = np.divide(1, distance, where=distance > 0, out=np.zeros_like(near))
    states, words = tf.unstack(x), tf.unstack(tf.zeros([len(graph), 2, 32]))
    for v in sorted(range(len(graph)), reverse=reverse):
      spoken = tf.stack(words)
      m = near[v][None] @ spoken[:, 0] + far[v][None] @ spoken[:, 1]
      own = states[v][None]
      gates = own @ cell["state"] + cell["state_bias"]
      states[v] = gated_gnn._gru(cell, m, own, gates)[0]
      words[v] = gated_gnn._messages(cell, states[v][None])[:, 0]
    x = tf.stack(states)
  return x
