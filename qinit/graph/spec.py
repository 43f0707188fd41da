"""NetSpec: a network as plain data, importable without TensorFlow."""

import dataclasses
import functools
import hashlib
import json
import math
import re

from qinit.errors import SpecError
from qinit.graph import ops
from qinit.graph.ops import Op, Shape

INPUT = "input"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_UNTRAINED = ("moving_mean", "moving_variance")


@dataclasses.dataclass(frozen=True)
class ParamSpec:
  """One parameter tensor: `key` is "node/role", `shape` as TF stores it."""

  key: str
  shape: Shape

  @property
  def node(self) -> str:
    return self.key.rsplit("/", 1)[0]

  @property
  def role(self) -> str:
    return self.key.rsplit("/", 1)[1]

  @property
  def trainable(self) -> bool:
    return self.role not in _UNTRAINED

  @property
  def is_kernel(self) -> bool:
    return self.role.endswith("kernel")

  @property
  def size(self) -> int:
    return math.prod(self.shape)

  @property
  def fan_in(self) -> int:
    """K K channels_in (Eq. 7). Keras' rule, so 9 C for a 3x3 depthwise."""
    return math.prod(self.shape[:-1])

  @property
  def fan_out(self) -> int:
    """K K channels_out (Eq. 7). Keras' rule, so 9 for a 3x3 depthwise."""
    return math.prod(self.shape[:-2]) * self.shape[-1]


@dataclasses.dataclass(frozen=True)
class Node:
  """An op at work: its name and the names of the nodes that it reads."""

  name: str
  op: Op
  inputs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class NetSpec:
  """A feed-forward network: nodes in topological order, the last is the
  output. Construction validates names, order, arity and shapes.

  Raises:
    SpecError: naming the node at fault.
  """

  input_shape: Shape
  nodes: tuple[Node, ...]

  def __post_init__(self):
    object.__setattr__(self, "input_shape", _checked_input(self.input_shape))
    object.__setattr__(self, "nodes", tuple(self.nodes))
    if not self.nodes:
      raise SpecError("a network needs at least one node")
    _check_nodes(self.nodes)
    self.param_specs()

  @property
  def output(self) -> str:
    return self.nodes[-1].name

  def node(self, name: str) -> Node:
    return self._by_name[name]

  def shapes(self) -> dict[str, Shape]:
    """Output shape, without the batch axis, of `input` and of every node."""
    return self._shapes

  def input_shapes(self, node: Node) -> tuple[Shape, ...]:
    return tuple(self._shapes[i] for i in node.inputs)

  def param_specs(self) -> dict[str, ParamSpec]:
    """Every parameter tensor by key, in node order."""
    return self._param_specs

  def trainable_specs(self) -> dict[str, ParamSpec]:
    return {k: p for k, p in self._param_specs.items() if p.trainable}

  def readers(self) -> dict[str, tuple[str, ...]]:
    """For each tensor the names of the nodes that read it."""
    return self._readers

  def num_params(self) -> int:
    """Number of trainable scalars."""
    return sum(p.size for p in self._param_specs.values() if p.trainable)

  def macs(self) -> int:
    """Multiply-accumulates of one image: kernel size times output pixels."""
    return sum(
      p.size * math.prod(self._shapes[p.node][:-1])
      for p in self._param_specs.values()
      if p.is_kernel
    )

  def to_dict(self) -> dict:
    nodes = [
      {"name": n.name, "inputs": list(n.inputs), **n.op.to_dict()}
      for n in self.nodes
    ]
    return {"input_shape": list(self.input_shape), "nodes": nodes}

  def to_json(self) -> str:
    return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

  def digest(self) -> str:
    """Sixteen hex digits that identify the network."""
    return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

  @functools.cached_property
  def _by_name(self):
    return {n.name: n for n in self.nodes}

  @functools.cached_property
  def _shapes(self):
    shapes = {INPUT: self.input_shape}
    for node in self.nodes:
      inputs = tuple(shapes[i] for i in node.inputs)
      shapes[node.name] = _at(node, node.op.output_shape, inputs)
    return shapes

  @functools.cached_property
  def _param_specs(self):
    specs = {}
    for node in self.nodes:
      shapes = _at(node, node.op.param_shapes, self.input_shapes(node))
      for role, shape in shapes.items():
        key = f"{node.name}/{role}"
        specs[key] = ParamSpec(key, shape)
    return specs

  @functools.cached_property
  def _readers(self):
    readers = {INPUT: []} | {n.name: [] for n in self.nodes}
    for node in self.nodes:
      for source in node.inputs:
        readers[source].append(node.name)
    return {name: tuple(nodes) for name, nodes in readers.items()}


def from_dict(data: dict) -> NetSpec:
  """The inverse of `NetSpec.to_dict`.

  Raises:
    SpecError: if `data` is not a network.
  """
  if not isinstance(data, dict) or not isinstance(data.get("nodes"), list):
    raise SpecError("a network needs an object with `input_shape` and `nodes`")
  nodes = tuple(_node(node) for node in data["nodes"])
  return NetSpec(data.get("input_shape", ()), nodes)


def from_json(text: str) -> NetSpec:
  """Reads a network from its JSON text; raises SpecError."""
  try:
    data = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise SpecError(f"not JSON: {error}") from None
  return from_dict(data)


def _node(data) -> Node:
  if not isinstance(data, dict):
    raise SpecError(f"a node must be an object, not {data!r}")
  data = dict(data)
  name, inputs = data.pop("name", None), data.pop("inputs", None)
  if not isinstance(inputs, list):
    raise SpecError(f"node {name!r} needs a list of inputs")
  try:
    return Node(name, ops.from_dict(data), tuple(inputs))
  except SpecError as error:
    raise SpecError(f"node {name!r}: {error}") from None


def _check_nodes(nodes):
  known = {INPUT}
  for node in nodes:
    if not isinstance(node.name, str) or not _NAME.fullmatch(node.name):
      raise SpecError(
        f"{node.name!r} is not a node name: use letters, digits,"
        " '_', '.' and '-'"
      )
    if node.name in known:
      raise SpecError(f"two nodes are called {node.name!r}")
    for source in node.inputs:
      if not isinstance(source, str) or source not in known:
        raise SpecError(
          f"node {node.name!r} reads {source!r}, which is not"
          " there before it (a cycle, or a missing node)"
        )
    _check_arity(node)
    known.add(node.name)


def _check_arity(node):
  least = 2 if node.op.arity is None else node.op.arity
  most = len(node.inputs) if node.op.arity is None else node.op.arity
  if not least <= len(node.inputs) <= most:
    wanted = f"{least}" if least == most else "two or more"
    raise SpecError(
      f"node {node.name!r}: {node.op.name} takes {wanted}"
      f" input(s), not {len(node.inputs)}"
    )


def _checked_input(shape) -> Shape:
  good = isinstance(shape, list | tuple) and len(shape) == 3
  if not good or not all(type(n) is int and 0 < n <= 4096 for n in shape):
    raise SpecError(f"input_shape must be [H, W, C] in 1..4096, not {shape!r}")
  return tuple(shape)


def _at(node, method, shapes):
  try:
    return method(*shapes)
  except SpecError as error:
    raise SpecError(f"node {node.name!r}: {error}") from None
