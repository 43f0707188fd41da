"""A graph neural network of blocks, run forward.

    h = sum_s x_s W_s;  y_i = agg_j alpha_ij h_j + b;  x = act(y)

for every block, over the sources s that it reads, and behind the last

    logits = sum_s x_s W_s + b

The same function runs the derived network and the supernet: numbers in `Plan`
are Python's in the one and tensors in the other.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qinit.lpgnas import message
from qinit.lpgnas.message import Edges
from qinit.lpgnas.pick import pick
from qinit.lpgnas.space import (
  ACTIVATIONS,
  AGGREGATIONS,
  ATTENTIONS,
  Architecture,
  attention_params,
)
from qinit.lpgnas.sparse import Pattern, product

# Where more of the features than this are not 0, a dense product is faster.
_DENSE = 0.1


class Sparse(NamedTuple):
  """A sparse matrix: where it is not 0, and its values [E]."""

  pattern: Pattern
  values: tf.Tensor


class Inputs(NamedTuple):
  """A graph as tensors; `features` is dense or sparse, [N, F]."""

  features: tf.Tensor | Sparse
  edges: Edges

  @classmethod
  def of(cls, graph) -> "Inputs":
    shape = (graph.num_nodes, graph.num_features)
    with tf.device("CPU"):
      if len(graph.values) > _DENSE * shape[0] * shape[1]:
        dense = np.zeros(shape, np.float32)
        dense[graph.rows, graph.columns] = graph.values
        return cls(tf.constant(dense), Edges.of(graph))
      pattern = Pattern.of(graph.rows, graph.columns, shape)
      features = Sparse(pattern, tf.constant(graph.values, tf.float32))
      return cls(features, Edges.of(graph))


class Plan(NamedTuple):
  """What one block does: numbers into the tables of `space`."""

  attention: int | tf.Tensor
  aggregation: int | tf.Tensor
  activation: int | tf.Tensor
  heads: int | tf.Tensor
  hidden: int | tf.Tensor
  # Of the blocks read beside the last, whether they are: 0 or 1.
  skips: dict


def plans(arch: Architecture) -> tuple[list[Plan], dict]:
  """The blocks of a given network, and the skips of its output layer."""
  found = [
    Plan(
      ATTENTIONS.index(block.attention),
      AGGREGATIONS.index(block.aggregation),
      ACTIVATIONS.index(block.activation),
      block.heads,
      block.hidden,
      dict.fromkeys(block.skips, 1),
    )
    for block in arch.blocks
  ]
  return found, dict.fromkeys(arch.skips, 1)


def no_tap(name, tensor):
  """The tap of a float network."""
  del name
  return tensor


def forward(
  params: dict,
  inputs: Inputs,
  blocks: list[Plan],
  skips: dict,
  tap=no_tap,
  dropout=lambda name, x: x,
) -> tf.Tensor:
  """Logits [N, classes].

  Args:
    params: by the names of `space.param_shapes`.
    tap: tap(name, tensor) -> tensor, on every tensor that has a precision, on
      parameters under their own name.
    dropout: dropout(name, x) -> x, on each tensor that a block reads.
  """
  outputs = [tap_values(tap, "input", inputs.features)]
  for k, plan in enumerate(blocks, 1):
    name = f"block{k}"
    h = _linear(params, name, outputs, plan.skips, tap, dropout)
    h = tap(f"{name}/linear", h)
    outputs.append(_message(params, name, h, plan, inputs.edges, tap))
  logits = _linear(params, "output", outputs, skips, tap, dropout)
  return logits + tap("output/bias", params["output/bias"])


def tap_values(tap, name, x):
  """The tap on a tensor, or on the values of a sparse one."""
  if isinstance(x, Sparse):
    return x._replace(values=tap(name, x.values))
  return tap(name, x)


def activate(kind, x):
  """Activation number `kind` of `space.ACTIVATIONS`."""
  table = {
    "none": tf.identity,
    "relu": tf.nn.relu,
    "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.2),
    "relu6": tf.nn.relu6,
    "elu": tf.nn.elu,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "softplus": tf.nn.softplus,
  }
  return pick(kind, [table[name] for name in ACTIVATIONS], x)


def _linear(params, name, outputs, skips, tap, dropout):
  """The last output times its matrix, plus those that the skips add."""
  last = len(outputs) - 1

  def read(s):
    key = f"{name}/weight{s}"
    own = name if s == last else key  # no two sources are dropped alike
    return tap_values(dropout, own, outputs[s]), tap(key, params[key])

  total = _matmul(*read(last))
  for s, taken in skips.items():
    total += pick(taken, [_nothing, _matmul], *read(s))
  return total


def _matmul(x, weight):
  if isinstance(x, Sparse):
    one = product(x.pattern, x.values[:, None], weight[:, None])
    return tf.squeeze(one, 1)
  return x @ weight


def _nothing(x, weight):
  return tf.zeros([tf.shape(x)[0], tf.shape(weight)[1]])


def _message(params, name, h, plan, edges, tap):
  """Attention, aggregation and activation of a block: [N, hidden]."""
  by_head = [plan.heads, plan.hidden // plan.heads]
  vectors = {
    key: tf.reshape(tap(f"{name}/{key}", params[f"{name}/{key}"]), by_head)
    for key in attention_params("generalized_linear")
    if f"{name}/{key}" in params
  }
  h = tf.reshape(h, [-1, *by_head])  # [N, H, C]
  alpha = message.coefficients(plan.attention, h, vectors, edges, tap, name)
  y = message.aggregate(plan.aggregation, alpha, h, edges)
  y = tf.reshape(y, [-1, plan.hidden])
  y += tap(f"{name}/bias", params[f"{name}/bias"])
  y = tap(f"{name}/aggregate", y)
  return tap(f"{name}/activation", activate(plan.activation, y))
