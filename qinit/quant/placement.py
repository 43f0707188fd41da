"""Where a network is quantised: the same for simulation, training and export.

Nodes that run as one integer operation form a group; the tensors between
groups carry codes. Some of them share a quantisation: what only moves or
selects codes (pools, slices, flatten, a ReLU of its own) keeps that of its
input, and the inputs of a concat take that of its output.
"""

import dataclasses
import functools

from qinit.errors import QuantError
from qinit.graph import ops, rewrite
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.quant.scheme import Scheme

_FUSES_RELU = (ops.Conv, ops.DepthwiseConv, ops.Dense, ops.Add)
_SHARES = (ops.Relu, ops.Pool, ops.Slice, ops.Flatten, ops.Concat)


@dataclasses.dataclass(frozen=True)
class Group:
  """Nodes that run as one integer operation.

  Attributes:
    name: the node whose output the group makes, and so the tensor's name.
    node: the node that computes; differs from `name` if a ReLU is fused.
    inputs: the tensors that it reads.
    relu: whether a ReLU is fused.
  """

  name: str
  node: Node
  inputs: tuple[str, ...]
  relu: bool = False

  @property
  def op(self) -> ops.Op:
    return self.node.op

  @property
  def kernel(self) -> str:
    """Key of the kernel; empty for what has no weights."""
    if isinstance(self.op, ops.DepthwiseConv):
      return f"{self.node.name}/depthwise_kernel"
    if isinstance(self.op, ops.Conv | ops.Dense):
      return f"{self.node.name}/kernel"
    return ""

  @property
  def bias(self) -> str:
    """Key of the bias, which a convolution may lack."""
    return f"{self.node.name}/bias"

  @property
  def rounds(self) -> bool:
    """Whether the output has to be rounded, rather than being codes moved."""
    average = isinstance(self.op, ops.Pool) and self.op.kind == "avg"
    return average or not isinstance(self.op, (*_SHARES, ops.Zero))


@dataclasses.dataclass(frozen=True)
class Placement:
  """The quantisation points of a network.

  Attributes:
    spec: the network with every sum between two inputs, as it runs.
    groups: its groups in topological order.
    owner: for each tensor, the one whose range it has.
  """

  spec: NetSpec
  groups: tuple[Group, ...]
  owner: dict[str, str]

  @functools.cached_property
  def group(self) -> dict[str, Group]:
    """The groups by name."""
    return {g.name: g for g in self.groups}

  @functools.cached_property
  def tensor(self) -> dict[str, str]:
    """For each node of a group the tensor that the group makes."""
    return {name: g.name for g in self.groups for name in (g.node.name, g.name)}

  @property
  def output(self) -> str:
    """The tensor of the logits."""
    return self.groups[-1].name

  @property
  def points(self) -> tuple[str, ...]:
    """The tensors that have a range of their own, in topological order."""
    tensors = (INPUT, *(g.name for g in self.groups))
    return tuple(t for t in tensors if self.owner[t] == t)

  def bits(self, tensor: str, scheme: Scheme) -> int:
    """Width of a tensor's codes: 8 for input and logits, else as chosen."""
    return 8 if self.absolute(tensor) else scheme.activation_bits

  def ceiling(self, group: Group) -> int:
    """Where the group's ReLU clips from above; 0 for nowhere."""
    op = self.spec.node(group.name).op
    return op.ceiling if isinstance(op, ops.Relu) else 0

  def absolute(self, tensor: str) -> bool:
    """Whether the range is never clipped: the network's input, its logits."""
    ends = (self.owner[INPUT], self.owner[self.output])
    return self.owner[tensor] in ends


def place(spec: NetSpec) -> Placement:
  """Places the quantisation points of a network whose BatchNorms are folded.

  Raises:
    QuantError: for a BatchNorm that is left, a concat with the input, or a
      ReLU with a ceiling that no group takes in.
  """
  for node in spec.nodes:
    if isinstance(node.op, ops.BatchNorm):
      raise QuantError(
        f"batch norm {node.name!r} cannot be folded: it must directly follow a"
        f" convolution that nothing else reads, not {node.inputs[0]!r}"
      )
  spec = pairwise_sums(spec)
  groups = _groups(spec)
  for group in groups:
    if isinstance(group.op, ops.Relu) and group.op.ceiling:
      raise QuantError(
        f"{group.name!r} clips at {group.op.ceiling} on its own: let it"
        " directly follow a convolution or sum that nothing else reads"
      )
  return Placement(spec, groups, _owners(groups))


def pairwise_sums(spec: NetSpec) -> NetSpec:
  """The network with sums of two inputs each, added from the left.

  Integer arithmetic rounds after every addition, so the partial sums of
  "name" become nodes "name.sum1", "name.sum2", ... Absent states (Zero) are
  left out of sums.
  """
  renamed: dict[str, str] = {}
  nodes, zeros = [], set()
  for node in spec.nodes:
    inputs = tuple(renamed.get(i, i) for i in node.inputs)
    node = dataclasses.replace(node, inputs=inputs)
    if isinstance(node.op, ops.Zero):
      zeros.add(node.name)
    if isinstance(node.op, ops.Add):
      addends = [i for i in inputs if i not in zeros] or inputs[:1]
      parts = _chain(node, addends)
      renamed[node.name] = parts[-1].name if parts else addends[0]
      nodes += parts
    else:
      nodes.append(node)
  output = renamed.get(spec.output, spec.output)
  end = next(i for i, n in enumerate(nodes) if n.name == output)
  return rewrite.prune(NetSpec(spec.input_shape, tuple(nodes[: end + 1])))


def _chain(node, inputs):
  """The pairwise additions that sum `inputs`; none for a single one."""
  total, parts = inputs[0], []
  for i, addend in enumerate(inputs[1:], 1):
    name = node.name if i == len(inputs) - 1 else f"{node.name}.sum{i}"
    parts.append(Node(name, node.op, (total, addend)))
    total = name
  return parts


def _groups(spec):
  tensor, groups = {INPUT: INPUT}, []
  for node in spec.nodes:
    if node.name in tensor:  # a ReLU that its input's group took in
      continue
    inputs = tuple(tensor[i] for i in node.inputs)
    if isinstance(node.op, ops.Dropout):
      tensor[node.name] = inputs[0]
      continue
    relu = _fused_relu(spec, node)
    name = relu or node.name
    tensor[node.name] = tensor[name] = name
    groups.append(Group(name, node, inputs, relu is not None))
  return tuple(groups)


def _fused_relu(spec, node):
  """The ReLU that alone reads a node which can take it in, else None."""
  readers = spec.readers()[node.name]
  if not isinstance(node.op, _FUSES_RELU) or len(readers) != 1:
    return None
  return readers[0] if isinstance(spec.node(readers[0]).op, ops.Relu) else None


def _owners(groups):
  """Joins what shares a range; the last concat owns it, else its source."""
  joined = {INPUT: frozenset([INPUT])}
  for group in groups:
    joined[group.name] = frozenset([group.name])
    if isinstance(group.op, _SHARES):
      union = frozenset().union(*(joined[t] for t in group.inputs))
      joined |= dict.fromkeys(union | {group.name}, union | {group.name})
  order = (INPUT, *(g.name for g in groups))
  concats = [g.name for g in groups if isinstance(g.op, ops.Concat)]
  return {t: _owner(joined[t], order, concats) for t in order}


def _owner(members, order, concats):
  inside = [c for c in concats if c in members]
  if inside and INPUT in members:
    raise QuantError(
      f"concat {inside[0]!r} reads the network's input, whose range is fixed:"
      " put a convolution before it"
    )
  return inside[-1] if inside else next(t for t in order if t in members)
