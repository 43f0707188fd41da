"""Sparse message passing: memory is linear in the edges.

States are h [N, H, C] with H heads; coefficients are alpha [E, H], the edges
sorted by target. i is the target of an edge, j its source; self-loops are
among the edges.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qinit.lpgnas.pick import pick
from qinit.lpgnas.slices import by_channels
from qinit.lpgnas.space import AGGREGATIONS, ATTENTIONS


class Edges(NamedTuple):
  """source, target: [E] int32; degree: [N] float32."""

  source: tf.Tensor
  target: tf.Tensor
  degree: tf.Tensor

  @classmethod
  def of(cls, graph) -> "Edges":
    degree = graph.degree.astype(np.float32)
    with tf.device("CPU"):
      return cls(*map(tf.constant, (graph.source, graph.target, degree)))


def coefficients(kind, h, vectors: dict, edges: Edges, tap, name: str):
  """alpha [E, H]; softmax is over the edges into i.

  | kind | score of j -> i |
  |---|---|
  | const | alpha = 1 |
  | gcn | alpha = 1 / sqrt(d_i d_j) |
  | gat | leaky(l_i + r_j), l = a_l . h, r = a_r . h |
  | gat_sym | leaky(l_i + r_j) + leaky(l_j + r_i) |
  | cos | sum_c (a_l h_i) (a_r h_j) |
  | linear | tanh(l_i + r_j) |
  | generalized_linear | w_g . tanh(a_l h_i + a_r h_j) |

  (GeoLayer of GraphNAS, where `linear` takes h_j for both terms, against the
  formula of its paper.) leaky has slope 0.2.

  Args:
    kind: number in `space.ATTENTIONS`, Python or tensor.
    vectors: a_l, a_r, w_g as `left`, `right`, `mix` [H, C]; what a kind does
      not need may be missing when it is known beforehand.
    tap: called as tap(name, tensor) on what is quantised.
    name: of the block.
  """

  def score(x):
    return tap(f"{name}/score", x)

  def branch(function):
    return lambda h, vectors, edges: function(score, h, vectors, edges)

  branches = [branch(_ALPHA[kind]) for kind in ATTENTIONS]
  alpha = pick(kind, branches, h, vectors, edges)
  const = ATTENTIONS.index("const")
  if not tf.is_tensor(kind):
    return alpha if kind == const else tap(f"{name}/attention", alpha)
  # Nothing of const is stored, so nothing is quantised.
  return tf.where(kind == const, alpha, tap(f"{name}/attention", alpha))


def aggregate(kind, alpha, h, edges: Edges):
  """[N, H, C]: the sum, the mean or, channel by channel, the maximum of
  alpha_ij h_j over the edges into i.

  Args:
    kind: number in `space.AGGREGATIONS`, Python or tensor.
  """
  table = {"sum": weighted_sum, "mean": _mean, "max": _largest}
  branches = [table[kind] for kind in AGGREGATIONS]
  return pick(kind, branches, alpha, h, edges)


def _mean(alpha, h, edges):
  return weighted_sum(alpha, h, edges) / edges.degree[:, None, None]


def _largest(alpha, h, edges):
  def part(source, target, alpha, h):
    messages = alpha[:, :, None] * tf.gather(h, source)
    return tf.math.segment_max(messages, target)

  return by_channels(part, edges, (alpha,), (h,), summed=False)


def _ones(score, h, vectors, edges):
  return tf.ones([tf.size(edges.target), tf.shape(h)[1]])


def _gcn(score, h, vectors, edges):
  root = tf.math.rsqrt(edges.degree)
  alpha = tf.gather(root, edges.target) * tf.gather(root, edges.source)
  return tf.repeat(alpha[:, None], tf.shape(h)[1], 1)


def _gat(score, h, vectors, edges):
  sums = score(_along(*_dots(h, vectors), edges))
  return segment_softmax(score(_leaky(sums)), edges)


def _gat_sym(score, h, vectors, edges):
  left, right = _dots(h, vectors)
  there, back = (
    score(_along(*ends, edges)) for ends in ((left, right), (right, left))
  )
  scores = score(_leaky(there)) + score(_leaky(back))
  return segment_softmax(scores, edges)


def _cos(score, h, vectors, edges):
  left, right = vectors["left"] * h, vectors["right"] * h
  return segment_softmax(score(edge_dot(left, right, edges)), edges)


def _linear(score, h, vectors, edges):
  sums = score(_along(*_dots(h, vectors), edges))
  return segment_softmax(score(tf.tanh(sums)), edges)


def _generalized_linear(score, h, vectors, edges):
  def part(source, target, left, right, mix):
    sums = score(tf.gather(left, target) + tf.gather(right, source))
    return tf.reduce_sum(score(tf.tanh(sums)) * mix, -1)

  states = (vectors["left"] * h, vectors["right"] * h, vectors["mix"])
  scores = by_channels(part, edges, (), states, summed=True)
  return segment_softmax(score(scores), edges)


_ALPHA = {
  "const": _ones,
  "gcn": _gcn,
  "gat": _gat,
  "gat_sym": _gat_sym,
  "cos": _cos,
  "linear": _linear,
  "generalized_linear": _generalized_linear,
}


def _dots(h, vectors):
  """l and r [N, H]."""
  return (tf.reduce_sum(vectors[p] * h, -1) for p in ("left", "right"))


def _along(at_target, at_source, edges):
  """[E, H]: the sum of both ends."""
  ends = tf.gather(at_target, edges.target), tf.gather(at_source, edges.source)
  return ends[0] + ends[1]


def segment_softmax(scores, edges: Edges):
  """[E, H]: exp(s_ij) / sum_j exp(s_ij) over the edges into i."""
  largest = tf.math.segment_max(tf.stop_gradient(scores), edges.target)
  powers = tf.exp(scores - tf.gather(largest, edges.target))
  total = tf.math.segment_sum(powers, edges.target)
  return powers / tf.gather(total, edges.target)


@tf.custom_gradient
def _weighted_sum(alpha, h, source, target):
  def gradient(dy):
    edges = Edges(source, target, None)
    flipped = Edges(target, source, None)
    return (
      edge_dot(dy, h, edges),
      _product(alpha, dy, flipped),
      None,
      None,
    )

  return _product(alpha, h, Edges(source, target, None)), gradient


def weighted_sum(alpha, h, edges: Edges):
  """[N, H, C]: sum of alpha_ij h_j over the edges into i, one product with a
  sparse matrix; nothing is stored per edge and channel."""
  return _weighted_sum(alpha, h, edges.source, edges.target)


@tf.custom_gradient
def _edge_dot(x, y, source, target):
  def gradient(dy):
    edges = Edges(source, target, None)
    flipped = Edges(target, source, None)
    return _product(dy, y, edges), _product(dy, x, flipped), None, None

  def part(source, target, x, y):
    return tf.reduce_sum(tf.gather(x, target) * tf.gather(y, source), -1)

  edges = Edges(source, target, None)
  return by_channels(part, edges, (), (x, y), summed=True), gradient


def edge_dot(x, y, edges: Edges):
  """[E, H]: x_i . y_j along the edges, the counterpart of `weighted_sum`:
  each is in the other's gradient."""
  return _edge_dot(x, y, edges.source, edges.target)


def _product(alpha, h, edges):
  """sum_j alpha_ij h_j; the heads are nodes of their own."""
  nodes, heads, width = tf.unstack(tf.shape(h))
  head = tf.range(heads)[None]
  rows = edges.target[:, None] * heads + head
  columns = edges.source[:, None] * heads + head
  indices = tf.stack([tf.reshape(rows, [-1]), tf.reshape(columns, [-1])], 1)
  size = tf.cast(nodes * heads, tf.int64)
  matrix = tf.SparseTensor(
    tf.cast(indices, tf.int64), tf.reshape(alpha, [-1]), tf.stack([size, size])
  )
  states = tf.reshape(h, [nodes * heads, width])
  y = tf.sparse.sparse_dense_matmul(matrix, states)
  return tf.reshape(y, [nodes, heads, width])


def _leaky(x):
  return tf.nn.leaky_relu(x, 0.2)
