"""Sizes in bits, of a network or as expectations over the controllers.

Model bits: every weight and attention vector at its own width, biases at 32.
(The exponents, a byte per tensor, are not counted.)

Buffer bits, per node: what a full-batch inference stores for a node, summed
over the network: the features that are not 0, and per block the outputs of
Linear, Aggregation and Activation and the attention coefficients (one per
head and edge in; gcn's are one per edge, const has none). Accumulators
are not stored (the interpreter's have 64 bits).

Peak buffer bits: the most of this, over all nodes, that is alive at once: an
operation's inputs and outputs, and the outputs of blocks that are read later.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from qinit.lpgnas.formats import parse
from qinit.lpgnas.space import (
  LEARNED,
  Architecture,
  Precision,
  Space,
  attention_params,
  param_shapes,
  skip_name,
  tensor_of,
  tensors,
)

_BIAS_BITS = 32


class GraphSize(NamedTuple):
  """What costs depend on; `values` is how many features are not 0."""

  nodes: int
  edges: int
  values: int
  num_features: int
  num_classes: int

  @classmethod
  def of(cls, graph) -> "GraphSize":
    return cls(
      graph.num_nodes,
      len(graph.source),
      len(graph.values),
      graph.num_features,
      graph.num_classes,
    )


class Sizes(NamedTuple):
  """Numbers, or expectations as tensors; blocks count from 0.

  Attributes:
    hidden: channels of each block.
    coefficients: stored per edge in each block.
    vectors: attention vectors of each block.
    skips: whether (source, reader) is connected.
    bits: width of each tensor by name.
  """

  hidden: list
  coefficients: list
  vectors: list
  skips: dict
  bits: dict


def sizes(arch: Architecture, precision: Precision) -> Sizes:
  """Of a given network."""
  readers = range(1, len(arch.blocks) + 2)
  return Sizes(
    hidden=[b.hidden for b in arch.blocks],
    coefficients=[_coefficients(b.attention, b.heads) for b in arch.blocks],
    vectors=[_vectors(b.attention) for b in arch.blocks],
    skips={(s, r): 1 for r in readers for s in arch.sources(r)[:-1]},
    bits={name: parse(f).bits for name, f in precision.items()},
  )


def float_sizes(arch: Architecture) -> Sizes:
  """Of a given network in 32 bits throughout."""
  everything = tensors(len(arch.blocks))
  eight = dict.fromkeys(everything, "scaled8")
  return sizes(arch, eight)._replace(bits=dict.fromkeys(everything, 32))


def expected_sizes(space: Space, decisions: dict, precisions: dict) -> Sizes:
  """Under probabilities [K] for every decision and every tensor."""
  blocks = range(1, space.blocks + 1)
  options = space.decisions()

  def mean(name, value):
    found = [float(value(option)) for option in options[name]]
    return tf.reduce_sum(decisions[name] * tf.constant(found))

  def coefficients(name):
    heads = mean(f"{name}/heads", float)
    per_head = mean(f"{name}/attention", LEARNED.__contains__)
    return heads * per_head + mean(f"{name}/attention", "gcn".__eq__)

  formats = space.precisions()
  return Sizes(
    hidden=[mean(f"block{k}/hidden", float) for k in blocks],
    coefficients=[coefficients(f"block{k}") for k in blocks],
    vectors=[mean(f"block{k}/attention", _vectors) for k in blocks],
    skips={skip: mean(skip_name(*skip), float) for skip in space.skips()},
    bits={
      name: tf.reduce_sum(
        p * tf.constant([float(parse(f).bits) for f in formats[name]])
      )
      for name, p in precisions.items()
    },
  )


def model_bits(size: Sizes, graph: GraphSize):
  """Bits of all parameters."""
  blocks, total = len(size.hidden), 0
  width = [graph.num_features, *size.hidden]
  for k in range(1, blocks + 1):
    per_channel = size.bits[f"block{k}/weight"] * _inputs(size, width, k)
    vectors = size.vectors[k - 1] * size.bits[f"block{k}/vectors"]
    total += size.hidden[k - 1] * (per_channel + vectors + _BIAS_BITS)
  per_class = size.bits["output/weight"] * _inputs(size, width, blocks + 1)
  return total + graph.num_classes * (per_class + _BIAS_BITS)


def buffer_bits(size: Sizes, graph: GraphSize):
  """Stored bits per node, summed over the network."""
  total = graph.values / graph.nodes * size.bits["input"]
  degree = graph.edges / graph.nodes
  for k, hidden in enumerate(size.hidden, 1):
    states = ("linear", "aggregate", "activation")
    widths = sum(size.bits[f"block{k}/{state}"] for state in states)
    coefficient = size.bits[f"block{k}/attention"]
    total += hidden * widths + degree * size.coefficients[k - 1] * coefficient
  return total


def peak_buffer_bits(arch: Architecture, size: Sizes, graph: GraphSize) -> int:
  """The most bits alive at once, by the schedule of the module's first lines:
  a block's Linear, Attention, Aggregation and Activation in turn."""
  blocks = len(arch.blocks)
  stored = {0: graph.values * size.bits["input"]}
  last_reader = {
    s: max(r for r in range(1, blocks + 2) if s in arch.sources(r))
    for s in range(blocks + 1)
  }
  peak = 0
  for k, hidden in enumerate(size.hidden, 1):
    bits = {
      part: graph.nodes * hidden * size.bits[f"block{k}/{part}"]
      for part in ("linear", "aggregate", "activation")
    }
    alpha = graph.edges * size.coefficients[k - 1]
    alpha *= size.bits[f"block{k}/attention"]
    held = sum(b for s, b in stored.items() if last_reader[s] > k)
    peak = max(
      peak,
      sum(stored[s] for s in stored if last_reader[s] >= k) + bits["linear"],
      held + bits["linear"] + alpha + bits["aggregate"],
      held + bits["aggregate"] + bits["activation"],
    )
    stored[k] = bits["activation"]
  return int(peak)


def weight_bits(arch: Architecture, bits: dict, graph: GraphSize) -> int:
  """Bits of what is quantised, biases apart; `bits` by tensor."""
  shapes = param_shapes(arch, graph.num_features, graph.num_classes)
  return sum(
    math.prod(shape) * bits[tensor_of(name)]
    for name, shape in shapes.items()
    if tensor_of(name)
  )


class Cost:
  """Differentiable cost of a search, in [0, 1].

  C = (log M / M_min / log M_max / M_min + lam * the same of B) / (1 + lam)

  with the expected model bits M and buffer bits B, and their bounds over the
  space. Halving the bits always earns the same; a cost linear in the bits
  falls silent long before the widths are small.
  """

  def __init__(self, space: Space, graph: GraphSize, lam: float = 0.5):
    self.space, self.graph, self.lam = space, graph, lam
    low, high = _extremes(space)
    self.bounds = [
      (math.log(f(low, graph)), math.log(f(high, graph)))
      for f in (model_bits, buffer_bits)
    ]

  def __call__(self, decisions: dict, precisions: dict) -> tf.Tensor:
    """Under probabilities of every decision and every tensor's format."""
    return self._of(expected_sizes(self.space, decisions, precisions))

  def of(self, arch: Architecture, precision: Precision) -> float:
    """Of a given network."""
    return float(self._of(sizes(arch, precision)))

  def _of(self, expected):
    bits = [f(expected, self.graph) for f in (model_bits, buffer_bits)]
    return logarithmic(bits, self.bounds, self.lam)


def logarithmic(bits, bounds, lam: float) -> tf.Tensor:
  """The cost C of (model bits, buffer bits) and the logarithms of the bounds
  of each."""
  model, buffer = (
    (tf.math.log(tf.cast(found, tf.float32)) - low) / (high - low)
    for found, (low, high) in zip(bits, bounds, strict=True)
  )
  return (model + lam * buffer) / (1 + lam)


def mean_bits(space: Space, precisions: dict, role: str) -> tf.Tensor:
  """Expected width, averaged over the tensors of a role."""
  roles = tensors(space.blocks)
  formats = space.precisions()
  widths = [
    tf.reduce_sum(p * [float(parse(f).bits) for f in formats[name]])
    for name, p in precisions.items()
    if roles[name] == role
  ]
  return tf.add_n(widths) / len(widths)


def _extremes(space):
  """Sizes with everything at its least, and at its most."""
  skips, precisions = space.skips(), space.precisions()
  for extreme in (min, max):
    n = space.blocks
    per_edge = [
      _coefficients(a, extreme(space.heads)) for a in space.attentions
    ]
    yield Sizes(
      [extreme(space.hidden)] * n,
      [extreme(per_edge)] * n,
      [extreme(_vectors(a) for a in space.attentions)] * n,
      dict.fromkeys(skips, extreme(0, 1)),
      {
        name: extreme(parse(f).bits for f in formats)
        for name, formats in precisions.items()
      },
    )


def _inputs(size, width, reader):
  """Channels that a reader reads."""
  skipped = (
    taken * width[s] for (s, r), taken in size.skips.items() if r == reader
  )
  return width[reader - 1] + sum(skipped)


def _vectors(attention):
  return len(attention_params(attention))


def _coefficients(attention, heads):
  if attention in LEARNED:
    return heads
  return 1 if attention == "gcn" else 0
