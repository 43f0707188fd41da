"""Linear stretches of a network, and functions that are traced for each kind
of stretch rather than for each network.

A training step of a hypernetwork has new networks every time. They are made
of the same few blocks at changing widths, so a chain of ops is traced once,
with unknown sizes, and serves all networks.
"""

import dataclasses
import functools
from collections.abc import Mapping

import tensorflow as tf

from qinit.functional import depthwise, pointwise, pooling, striding
from qinit.functional.forward import node_seed, split_by_node
from qinit.functional.traced import Traced
from qinit.graph import ops
from qinit.graph.ops import Op
from qinit.graph.spec import INPUT, NetSpec, Node

# Joins have several inputs; a flattening needs sizes that a trace lacks.
_ALONE = (ops.Add, ops.Concat, ops.Flatten)


@dataclasses.dataclass(frozen=True)
class Chain:
  """Nodes each of which alone reads the one before it."""

  nodes: tuple[Node, ...]

  @property
  def inputs(self) -> tuple[str, ...]:
    return self.nodes[0].inputs

  @property
  def output(self) -> str:
    return self.nodes[-1].name


def chains(spec: NetSpec) -> tuple[Chain, ...]:
  """The network cut into chains, in topological order. Sums, concatenations
  and flattenings are chains of their own."""
  found: list[list[Node]] = []
  end: dict[str, list[Node]] = {}  # the chain that a node is last of
  for node in spec.nodes:
    source, apart = node.inputs[0], isinstance(node.op, _ALONE)
    sole = not apart and len(spec.readers()[source]) == 1
    chain = end.pop(source, None) if sole else None
    if chain is None:
      found.append(chain := [])
    chain.append(node)
    if not apart:
      end[node.name] = chain
  return tuple(Chain(tuple(nodes)) for nodes in found)


def forward(
  spec: NetSpec, params: Mapping, x, training: bool = False, seed=None
):
  """`functional.forward` without a tap, chain by chain; see there."""
  own, values = split_by_node(params), {INPUT: tf.convert_to_tensor(x)}
  for chain in chains(spec):
    inputs = [values[i] for i in chain.inputs]
    values[chain.output] = _run(chain, own, inputs, training, seed)
  return values[spec.output]


def relaxed(op: Op) -> Op:
  """The op without the sizes that its parameters have anyway."""
  if isinstance(op, ops.Conv):
    return dataclasses.replace(op, filters=1)
  if isinstance(op, ops.Dense):
    return dataclasses.replace(op, units=1)
  return op


def apply(op: Op, own: Mapping, x, **kwargs):
  """`op.apply`, but faster and with faster gradients where there is a way."""
  if isinstance(op, ops.Pool):
    return pooling.apply(op, x)
  if isinstance(op, ops.Slice):
    return striding.sliced(op, x)
  if isinstance(op, ops.DepthwiseConv):
    y = depthwise.apply(op, own["depthwise_kernel"], x)
    return tf.nn.bias_add(y, own["bias"]) if "bias" in own else y
  if isinstance(op, ops.Conv) and pointwise.applies(op):
    return pointwise.apply(op, own["kernel"], x, own.get("bias"))
  return op.apply(own, x, **kwargs)


def signature(role: str, rank: int, op: Op, dtype=tf.float32) -> tf.TensorSpec:
  """A parameter of unknown channels; the window is known."""
  if isinstance(op, ops.DepthwiseConv) and role == "depthwise_kernel":
    return tf.TensorSpec([*op.kernel_size, None, 1], dtype)
  if isinstance(op, ops.Conv) and role == "kernel":
    return tf.TensorSpec([*op.kernel_size, None, None], dtype)
  return tf.TensorSpec([None] * rank, dtype)


def _run(chain, own, inputs, training, seed):
  seeds = [  # of what needs one: each costs an operation
    node_seed(seed, n.name)
    for n in chain.nodes
    if training and isinstance(n.op, ops.Dropout)
  ]
  first = chain.nodes[0]
  faster = isinstance(first.op, (ops.Pool, ops.Slice))
  plain = first.name not in own and not faster
  if len(chain.nodes) == 1 and plain:
    return first.op.apply(
      {}, *inputs, training=training, seed=next(iter(seeds), None)
    )
  weights = [own.get(n.name, {}) for n in chain.nodes]
  run = _traced(
    tuple(relaxed(n.op) for n in chain.nodes),
    tuple(
      tuple((r, len(w.shape), w.dtype) for r, w in own.items())
      for own in weights
    ),
    len(inputs[0].shape),
    inputs[0].dtype,
    training,
    chain.inputs[0] == INPUT,
  )
  return run(inputs[0], weights, seeds)


@functools.cache
def _traced(row, roles, rank, dtype, training, at_input):
  """The function of all chains of these ops; images need no gradient."""

  def run(x, weights, seeds):
    x = tf.stop_gradient(x) if at_input else x
    seeds = iter(seeds)
    for op, own in zip(row, weights, strict=True):
      seed = next(seeds, None) if isinstance(op, ops.Dropout) else None
      x = apply(op, own, x, training=training, seed=seed)
    return x

  drops = sum(isinstance(op, ops.Dropout) for op in row) if training else 0
  weights = [
    {role: signature(role, n, op, kind) for role, n, kind in own}
    for op, own in zip(row, roles, strict=True)
  ]
  seeds = [tf.TensorSpec([2], tf.int32)] * drops
  return Traced(run, tf.TensorSpec([None] * rank, dtype), weights, seeds)
