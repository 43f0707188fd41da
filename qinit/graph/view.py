"""The graph that a hypernetwork sees: NetSpec -> arrays.

Structural rules instead of tracing: each tensor of the network stands for the
graph node that produced it. Ops without primitives (ReLU, slices, dropout)
hand on their input's node; a sum or concat of fewer than two different nodes
disappears; zeros stand for nothing (Section 3 of Knyazev et al., 2021).
"""

import dataclasses
import functools

import numpy as np

from qinit.errors import SpecError
from qinit.graph import ops
from qinit.graph.ops import Shape
from qinit.graph.spec import INPUT, NetSpec
from qinit.graph.sweep import Sweep, sweeps

# The rows of the hypernetwork's embedding, in the order of its checkpoints.
PRIMITIVES = (
  "max_pool",
  "avg_pool",
  "sep_conv",
  "dil_conv",
  "conv",
  "msa",
  "cse",
  "sum",
  "concat",
  "input",
  "bias",
  "bn",
  "ln",
  "pos_enc",
  "glob_avg",
)
_ID = {name: i for i, name in enumerate(PRIMITIVES)}
_JOINS = (ops.Add, ops.Concat)
_MAX_NODES = 5000
_FAR = np.uint16(60000)  # above every distance; adding _MAX_NODES is safe


@dataclasses.dataclass(frozen=True)
class GhnGraph:
  """N nodes in topological order.

  Attributes:
    names: of the spec's nodes that they come from.
    primitive: [N] rows of `PRIMITIVES`.
    shape: [N, 4] (O, I, kh, kw), zeros for nodes without a shape.
    keys: per node the parameters that are predicted from it.
    predecessors: per node the nodes that it reads.
    distance: [N, N] uint8, hops on the shortest directed path from row to
      column; 0 where there is none within `virtual_edge` hops.
    virtual_edge: the cut-off.
  """

  names: tuple[str, ...]
  primitive: np.ndarray
  shape: np.ndarray
  keys: tuple[tuple[str, ...], ...]
  predecessors: tuple[tuple[int, ...], ...]
  distance: np.ndarray
  virtual_edge: int

  def __len__(self):
    return len(self.names)

  @functools.cached_property
  def edges(self) -> np.ndarray:
    """[M, 3] (source, target, distance), virtual edges included."""
    source, target = np.nonzero(self.distance)
    return np.stack([source, target, self.distance[source, target]], 1)

  @functools.cached_property
  def sweeps(self) -> tuple[Sweep, Sweep]:
    """Forward and backward, in message passing's order."""
    return sweeps(self.predecessors, self.distance)


def view(spec: NetSpec, virtual_edge: int = 50) -> GhnGraph:
  """The graph of `spec` without dead branches.

  Raises:
    SpecError: if the output does not depend on the input, a convolution reads
      nothing but zeros, or the graph is too large.
  """
  if not 1 <= virtual_edge <= 255:
    raise SpecError(f"virtual_edge must be in 1..255, not {virtual_edge}")
  nodes = _Nodes()
  for node in _live(spec):
    nodes.add(node, spec.input_shapes(node))
  if nodes.value[spec.output] is None:
    raise SpecError("the output of the network does not depend on its input")
  if len(nodes.names) > _MAX_NODES:
    raise SpecError(f"the graph has more than {_MAX_NODES} nodes")
  return GhnGraph(
    tuple(nodes.names),
    np.array(nodes.primitive, np.int32),
    np.array(nodes.shape, np.int32),
    tuple(nodes.keys),
    tuple(nodes.predecessors),
    _distances(nodes.predecessors, virtual_edge),
    virtual_edge,
  )


class _Nodes:
  """The graph as it grows; `value` is the node behind each tensor."""

  def __init__(self):
    self.names, self.primitive, self.shape = [], [], []
    self.keys, self.predecessors = [], []
    self.value = {INPUT: self._append(INPUT, "input", None, (), ())}

  def add(self, node, shapes):
    sources = {self.value[i] for i in node.inputs} - {None}
    if isinstance(node.op, ops.Zero) or not sources:
      if node.op.param_shapes(*shapes):
        raise SpecError(f"node {node.name!r} reads nothing but zeros")
      self.value[node.name] = None
      return
    source = tuple(sorted(sources))
    if not isinstance(node.op, _JOINS) or len(source) > 1:
      for row in node.op.primitives(*shapes):
        keys = tuple(f"{node.name}/{role}" for role in row.roles)
        source = (self._append(node.name, row.name, row.shape, keys, source),)
    self.value[node.name] = source[0]

  def _append(self, name, primitive, shape: Shape | None, keys, source):
    self.names.append(name)
    self.primitive.append(_ID[primitive])
    self.shape.append(shape or (0, 0, 0, 0))
    self.keys.append(keys)
    self.predecessors.append(source)
    return len(self.names) - 1


def _live(spec):
  alive, kept = {spec.output}, []
  for node in reversed(spec.nodes):
    if node.name in alive:
      alive.update(node.inputs)
      kept.append(node)
  return reversed(kept)


def _distances(predecessors, cutoff):
  """All shortest paths of a graph in topological order, [N, N] uint8.

  d(u, v) = 1 + min over the predecessors p of v of d(u, p).
  """
  n = len(predecessors)
  to = np.full((n, n), _FAR)  # row v: distances of all nodes to v
  for v, before in enumerate(predecessors):
    row = to[v]
    if len(before) == 1:
      np.add(to[before[0]], 1, out=row)
    elif before:
      np.add(to[list(before)].min(0), 1, out=row)
    row[v] = 0
  to[to > cutoff] = 0
  return np.ascontiguousarray(to.T, np.uint8)
