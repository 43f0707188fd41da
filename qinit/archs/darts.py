"""DARTS-style networks: constructor arguments -> NetSpec.

The family of DeepNets-1M (Knyazev et al., 2021): a stem, cells that are all
made from one normal and one reduction genotype, and a head. Node names are the
module names of the public PyTorch code, so that its `X.weight` is `X/kernel`,
`X/depthwise_kernel` or `X/gamma` here. Padding is symmetric and BatchNorm's
epsilon 1e-5, as there.
"""

import functools

from qinit.archs.genotype import NetConfig
from qinit.errors import SpecError
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node

_EPSILON = 1e-5
_DROPOUT = 0.5


def build(
  config: NetConfig, input_shape: tuple[int, int, int] = (32, 32, 3)
) -> NetSpec:
  """The network as a spec, without the branches that the output does not
  depend on.

  Raises:
    SpecError: naming the place, for arguments that do not fit together.
  """
  net = _Builder(config)
  states = _stem(net)
  reduced_before = config.stem_type == 1
  width = config.C
  for c in range(config.n_cells):
    reduction = c > 0 and c in (config.n_cells // 3, 2 * config.n_cells // 3)
    width *= config.C_mult if reduction else 1
    output = _cell(net, c, states, width, reduction, reduced_before)
    states, reduced_before = (states[1], output), reduction
  if states[1] is None:
    raise SpecError(
      f"cells.{config.n_cells - 1} has no output: its states are all `none`"
    )
  _head(net, states[1])
  return NetSpec(input_shape, net.live_nodes())


class _Builder:
  """Collects nodes and the channels of their outputs. An absent tensor is
  None; every method returns the name of its output."""

  def __init__(self, config):
    self.config = config
    self.nodes = []
    self.channels = {INPUT: 3}

  def add(self, name, op, *inputs, channels=None):
    self.nodes.append(Node(name, op, inputs))
    self.channels[name] = channels or self.channels[inputs[0]]
    return name

  def conv(self, name, x, filters, size, stride=1):
    return self.add(name, _conv(filters, size, stride), x, channels=filters)

  def depthwise(self, name, x, size, stride=1, dilation=1):
    return self.add(name, _depthwise(size, stride, dilation), x)

  def norm(self, name, x):
    return x if self.config.norm is None else self.add(name, _BATCH_NORM, x)

  def relu(self, name, x):
    return self.add(name, _RELU, x)

  def live_nodes(self):
    alive, kept = {self.nodes[-1].name}, []
    for node in reversed(self.nodes):
      if node.name in alive:
        alive.update(node.inputs)
        kept.append(node)
    return tuple(reversed(kept))


# Ops are immutable: each is checked once and shared by all nodes.
_RELU = ops.Relu()
_BATCH_NORM = ops.BatchNorm(_EPSILON)


@functools.cache
def _conv(filters, size, stride):
  return ops.Conv(filters, size, stride, padding="symmetric")


@functools.cache
def _depthwise(size, stride, dilation):
  return ops.DepthwiseConv(size, stride, dilation, padding="symmetric")


@functools.cache
def _pool(kind, stride):
  return ops.Pool(kind, 3, stride, padding="symmetric")


def _stem(net):
  config = net.config
  if config.stem_type == 1:
    return _stem_1(net, config.C, config.ks)
  width = 3 * config.C if config.preproc else config.C
  x = net.norm("stem.1", net.conv("stem.0", INPUT, width, config.ks))
  if config.stem_pool:
    x = net.add("stem.2", _pool("max", 2), x)
  return x, x


def _stem_1(net, width, ks):
  if width < 2:
    raise SpecError("stem_type 1 needs C of at least 2")
  x = net.norm("stem0.1", net.conv("stem0.0", INPUT, width // 2, ks))
  x = net.conv("stem0.3", net.relu("stem0.2", x), width, 3)
  s0 = net.norm("stem0.4", x)
  x = net.conv("stem1.1", net.relu("stem1.0", s0), width, 3, 2)
  return s0, net.norm("stem1.2", x)


def _cell(net, c, inputs, width, reduction, reduced_before):
  kind = "reduce" if reduction else "normal"
  genotype = net.config.genotype
  edges = getattr(genotype, kind)
  concat = getattr(genotype, f"{kind}_concat")
  states = _preprocess(net, f"cells.{c}", inputs, width, reduced_before)
  for j in range(0, len(edges), 2):
    terms = [
      _operation(
        net,
        f"cells.{c}._ops.{j + k}",
        op,
        states[index],
        width,
        2 if reduction and index < 2 else 1,
      )
      for k, (op, index) in enumerate(edges[j : j + 2])
    ]
    states.append(_sum(net, f"cells.{c}.sum.{j // 2 + 2}", terms))
  return _gather(net, f"cells.{c}", [states[i] for i in concat], width)


def _preprocess(net, cell, inputs, width, reduced_before):
  names = (f"{cell}.preprocess0", f"{cell}.preprocess1")
  reduced = (reduced_before, False)
  if net.config.preproc:
    return [
      x
      if x is None
      else _factorized_reduce(net, name, x, width)
      if halve
      else _relu_conv_bn(net, name, x, width, 1)
      for name, x, halve in zip(names, inputs, reduced, strict=True)
    ]
  return [
    net.add(name, ops.Slice(0, 2), x) if halve and x is not None else x
    for name, x, halve in zip(names, inputs, reduced, strict=True)
  ]


def _operation(net, name, op, x, width, stride):
  """One op of the genotype; None if it or its input is absent."""
  if op == "none" or x is None:
    return None
  y = _apply(net, name, op, x, width, stride)
  if net.channels[y] != width:
    raise SpecError(
      f"{name}: {op} keeps {net.channels[y]} channels where the cell has"
      f" {width}: set preproc, or C_mult 1 and a concat of one state"
    )
  return y


def _apply(net, name, op, x, width, stride):
  if op == "skip_connect":
    return x if stride == 1 else _factorized_reduce(net, name, x, width)
  if op == "conv_7x1_1x7":
    return _conv_7x1_1x7(net, name, x, width, stride)
  kind, size = op.rsplit("_", 1)
  size = int(size[0])
  if kind.endswith("pool"):
    return net.add(f"{name}.pool", _pool(kind[:3], stride), x)
  block = {
    "conv": _relu_conv_bn,
    "sep_conv": _sep_conv,
    "dil_conv": _dil_conv,
  }[kind]
  return block(net, name, x, width, size, stride)


def _relu_conv_bn(net, name, x, width, size, stride=1):
  x = net.relu(f"{name}.op.0", x)
  x = net.conv(f"{name}.op.1", x, width, size, stride)
  return net.norm(f"{name}.op.2", x)


def _conv_7x1_1x7(net, name, x, width, stride):
  channels = net.channels[x]
  x = net.relu(f"{name}.op.0", x)
  x = net.conv(f"{name}.op.1", x, channels, (1, 7), (1, stride))
  x = net.conv(f"{name}.op.2", x, width, (7, 1), (stride, 1))
  return net.norm(f"{name}.op.3", x)


def _sep_conv(net, name, x, width, size, stride):
  channels = net.channels[x]
  x = net.relu(f"{name}.op.0", x)
  x = net.depthwise(f"{name}.op.1", x, size, stride)
  x = net.norm(f"{name}.op.3", net.conv(f"{name}.op.2", x, channels, 1))
  x = net.depthwise(f"{name}.op.5", net.relu(f"{name}.op.4", x), size)
  return net.norm(f"{name}.op.7", net.conv(f"{name}.op.6", x, width, 1))


def _dil_conv(net, name, x, width, size, stride):
  x = net.relu(f"{name}.op.0", x)
  x = net.depthwise(f"{name}.op.1", x, size, stride, dilation=2)
  return net.norm(f"{name}.op.3", net.conv(f"{name}.op.2", x, width, 1))


def _factorized_reduce(net, name, x, width):
  """Two 1x1 convolutions at stride 2, the second one pixel further on."""
  if width % 2:
    raise SpecError(f"{name}: a factorised reduction needs an even width")
  x = net.relu(f"{name}.relu", x)
  even = net.conv(f"{name}.conv_1", x, width // 2, 1, 2)
  odd = net.add(f"{name}.slice", _SHIFT, x)
  odd = net.conv(f"{name}.conv_2", odd, width // 2, 1, 2)
  x = net.add(f"{name}.concat", _CONCAT, even, odd, channels=width)
  return net.norm(f"{name}.bn", x)


_SHIFT = ops.Slice(1, 1)
_CONCAT = ops.Concat()
_ADD = ops.Add()


def _sum(net, name, terms):
  present = [t for t in terms if t is not None]
  if len(present) < 2:
    return present[0] if present else None
  return net.add(name, _ADD, *present)


def _gather(net, cell, states, width):
  """Concatenates the states; zeros stand for the absent ones."""
  present = [s for s in states if s is not None]
  if not present or len(states) == 1:
    return present[0] if present else None
  parts = []
  for i, state in enumerate(states):
    if state is None:
      zero = ops.Zero(width)
      state = net.add(f"{cell}.zero.{i}", zero, present[0], channels=width)
    parts.append(state)
  return net.add(f"{cell}.concat", _CONCAT, *parts, channels=width * len(parts))


def _head(net, x):
  config = net.config
  if config.glob_avg:
    x = net.add("glob_avg", ops.GlobalPool(), x)
  else:
    x = net.add("flatten", ops.Flatten("chw"), x)
  if config.fc_layers == 2:
    x = net.add("classifier.0", ops.Dense(config.fc_dim), x)
    x = net.relu("classifier.1", x)
    x = net.add("classifier.2", ops.Dropout(_DROPOUT), x)
  last = 3 * (config.fc_layers - 1)
  net.add(f"classifier.{last}", ops.Dense(config.num_classes), x)
