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
from qinit.lpgnas.space import AGGREGATIONS, ATTENTIONS, HEADS
from qinit.lpgnas.sparse import Pattern, at_columns, at_rows, dots, product


class Edges(NamedTuple):
  """The adjacency matrix, targets by sources, and the degrees [N] float32."""

  pattern: Pattern
  degree: tf.Tensor

  @classmethod
  def of(cls, graph) -> "Edges":
    nodes = graph.num_nodes
    shape, most = (nodes, nodes), max(HEADS)
    pattern = Pattern.of(graph.target, graph.source, shape, most)
    with tf.device("CPU"):
      return cls(pattern, tf.constant(graph.degree.astype(np.float32)))

  @property
  def source(self):
    return self.pattern.columns

  @property
  def target(self):
    return self.pattern.rows


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
  ways = [lambda alpha, tapped: tapped, lambda alpha, tapped: alpha]
  tapped = tap(f"{name}/attention", alpha)
  return pick(tf.cast(kind == const, tf.int32), ways, alpha, tapped)


def aggregate(kind, alpha, h, edges: Edges):
  """[N, H, C]: the sum, the mean or, channel by channel, the maximum of
  alpha_ij h_j over the edges into i.

  Args:
    kind: number in `space.AGGREGATIONS`, Python or tensor.
  """
  table = {"sum": _sum, "mean": _mean, "max": _largest}
  branches = [table[kind] for kind in AGGREGATIONS]
  return pick(kind, branches, alpha, h, edges)


def _sum(alpha, h, edges):
  return product(edges.pattern, alpha, h)


def _mean(alpha, h, edges):
  return _sum(alpha, h, edges) / edges.degree[:, None, None]


def _largest(alpha, h, edges):
  def part(pattern, alpha, h):
    messages = alpha[:, :, None] * at_columns(pattern, h)
    return tf.math.segment_max(messages, pattern.rows)

  return by_channels(part, edges.pattern, (alpha,), (h,), summed=False)


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
  return segment_softmax(score(dots(edges.pattern, left, right)), edges)


def _linear(score, h, vectors, edges):
  sums = score(_along(*_dots(h, vectors), edges))
  return segment_softmax(score(tf.tanh(sums)), edges)


def _generalized_linear(score, h, vectors, edges):
  def part(pattern, left, right, mix):
    sums = score(at_rows(pattern, left) + at_columns(pattern, right))
    return _mixed(score(tf.tanh(sums)), mix)

  states = (vectors["left"] * h, vectors["right"] * h, vectors["mix"])
  scores = by_channels(part, edges.pattern, (), states, summed=True)
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
  pattern = edges.pattern
  return at_rows(pattern, at_target) + at_columns(pattern, at_source)


def _mixed(x, mix):
  """[E, H]: sum_c x_ehc mix_hc. One product of matrices, all heads against
  all, is faster than elementwise products, there and most of all back."""
  heads, width = tf.unstack(tf.shape(mix))
  blocks = mix[:, :, None] * tf.eye(heads)[:, None, :]
  x = tf.reshape(x, [-1, heads * width])
  return x @ tf.reshape(blocks, [heads * width, heads])


def segment_softmax(scores, edges: Edges):
  """[E, H]: exp(s_ij) / sum_j exp(s_ij) over the edges into i."""
  largest = tf.math.segment_max(tf.stop_gradient(scores), edges.target)
  powers = tf.exp(scores - tf.gather(largest, edges.target))
  total = tf.math.segment_sum(powers, edges.target)
  return powers / at_rows(edges.pattern, total)


def _leaky(x):
  return tf.nn.leaky_relu(x, 0.2)
