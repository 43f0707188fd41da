"""Runs a NetSpec with its parameters given as tensors."""

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from qinit.graph.spec import INPUT, NetSpec

Tap = Callable[[str, str, tf.Tensor], tf.Tensor]


def identity(kind: str, name: str, tensor):
  """The tap of a float network."""
  return tensor


def forward(
  spec: NetSpec,
  params: Mapping,
  x,
  tap: Tap = identity,
  training: bool = False,
  seed=None,
):
  """The network's output for images `x` [B, H, W, C]; differentiable in
  `params` and in `x`.

  Args:
    params: tensors by "node/role", exactly `spec.param_specs()`; without the
      moving statistics BatchNorm uses those of the batch.
    tap: called as tap(kind, name, tensor) on the input ("input"), on every
      parameter ("weight", its key) and on every node's output ("activation");
      what it returns is used instead. Observing and quantising are both taps.
    training: batch statistics and dropout.
    seed: two integers from which each dropout draws its mask.
  """
  own = split_by_node(params)
  values = {INPUT: tap("input", INPUT, x)}
  for node in spec.nodes:
    weights = {
      role: tap("weight", f"{node.name}/{role}", tensor)
      for role, tensor in own.get(node.name, {}).items()
    }
    y = node.op.apply(
      weights,
      *(values[i] for i in node.inputs),
      training=training,
      seed=node_seed(seed, node.name),
    )
    values[node.name] = tap("activation", node.name, y)
  return values[spec.output]


def split_by_node(params: Mapping) -> dict[str, dict]:
  """{"node/role": t} as {"node": {"role": t}}."""
  own: dict[str, dict] = {}
  for key, tensor in params.items():
    node, role = key.rsplit("/", 1)
    own.setdefault(node, {})[role] = tensor
  return own


def node_seed(seed, name):
  """The seed of one node's random numbers, without an operation of TensorFlow
  outside graphs; None without a seed."""
  if seed is None:
    return None
  own = zlib.crc32(name.encode()) & 0x7FFFFFFF
  if tf.is_tensor(seed):
    return tf.bitwise.bitwise_xor(seed, [own, 0])
  first, second = seed
  return np.array([int(first) ^ own, int(second)], np.int32)
