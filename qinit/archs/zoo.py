"""The eight networks of the random-initialisation study (Section 3).

The paper draws them (Figs. 1 and 2) without naming widths; the choices here
are a 3x3 convolution to 32 channels, then either six VGG-like blocks or four
stages of two residual blocks, then global average pooling, a hidden dense
layer of 128 with dropout 0.5, and the logits. Plain Keras conventions: padding
`same`, BatchNorm epsilon 1e-3.
"""

import dataclasses
from collections.abc import Callable

from qinit.errors import one_of
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node

_VGG = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))
_RESIDUAL = ((32, 1), (64, 2), (128, 2), (256, 2))
_BLOCKS_PER_STAGE = 2
_EXPANSION = 6
_STEM, _HIDDEN, _DROPOUT = 32, 128, 0.5


@dataclasses.dataclass
class _Builder:
  """Collects nodes; every method returns the name of its output."""

  batch_norm: bool
  nodes: list[Node] = dataclasses.field(default_factory=list)

  def add(self, name, op, *inputs):
    self.nodes.append(Node(name, op, inputs))
    return name

  def unit(self, name, op, x, relu=True):
    """Convolution, BatchNorm if wanted, ReLU if wanted."""
    op = dataclasses.replace(op, use_bias=not self.batch_norm)
    x = self.add(name, op, x)
    if self.batch_norm:
      x = self.add(f"{name}_bn", ops.BatchNorm(), x)
    return self.add(f"{name}_relu", ops.Relu(), x) if relu else x

  def conv(self, name, x, filters, size=3, stride=1, relu=True):
    return self.unit(name, ops.Conv(filters, size, stride), x, relu)

  def depthwise(self, name, x, stride=1):
    return self.unit(name, ops.DepthwiseConv(3, stride), x)


def _regular_block(net, name, x, channels, filters, stride):
  return net.conv(f"{name}_conv", x, filters, stride=stride)


def _dws_block(net, name, x, channels, filters, stride):
  x = net.depthwise(f"{name}_dw", x, stride)
  return net.conv(f"{name}_pw", x, filters, size=1)


def _basic_residual_block(net, name, x, channels, filters, stride):
  y = net.conv(f"{name}_conv1", x, filters, stride=stride)
  y = net.conv(f"{name}_conv2", y, filters, relu=False)
  if stride > 1 or channels != filters:
    shortcut = f"{name}_shortcut"
    x = net.conv(shortcut, x, filters, size=1, stride=stride, relu=False)
  y = net.add(f"{name}_add", ops.Add(), y, x)
  return net.add(f"{name}_relu", ops.Relu(), y)


def _inverted_bottleneck(net, name, x, channels, filters, stride):
  y = net.conv(f"{name}_expand", x, _EXPANSION * channels, size=1)
  y = net.depthwise(f"{name}_dw", y, stride)
  y = net.conv(f"{name}_project", y, filters, size=1, relu=False)
  if stride == 1 and channels == filters:
    y = net.add(f"{name}_add", ops.Add(), y, x)
  return y


@dataclasses.dataclass(frozen=True)
class Arch:
  """A row of the zoo: its block, its stages and its name in the tables."""

  row_name: str
  block: Callable
  stages: tuple[tuple[int, int], ...]
  batch_norm: bool


def _residual_stages():
  return tuple(
    (filters, stride if block == 0 else 1)
    for filters, stride in _RESIDUAL
    for block in range(_BLOCKS_PER_STAGE)
  )


def _rows():
  families = (
    ("regular_conv", "Regular_Conv", _regular_block, _VGG),
    ("dws_conv", "DWS_Conv", _dws_block, _VGG),
    (
      "basic_residual",
      "Basic_Residual",
      _basic_residual_block,
      _residual_stages(),
    ),
    ("mbnetv2", "MbNetv2_Conv", _inverted_bottleneck, _residual_stages()),
  )
  for name, row_name, block, stages in families:
    yield f"{name}_bn", Arch(f"{row_name}_With_BN", block, stages, True)
    yield f"{name}_no_bn", Arch(f"{row_name}_No_BN", block, stages, False)


ARCHS: dict[str, Arch] = dict(_rows())


def build(
  arch: str,
  width: float = 1.0,
  num_classes: int = 10,
  input_shape: tuple[int, int, int] = (32, 32, 3),
) -> NetSpec:
  """The network `arch`, every channel count multiplied by `width`.

  Raises:
    QinitError: for an unknown name, with the nearest ones.
  """
  row = ARCHS[one_of("architecture", arch, ARCHS)]
  net = _Builder(row.batch_norm)
  channels = _scaled(_STEM, width)
  x = net.conv("stem", INPUT, channels)
  for i, (filters, stride) in enumerate(row.stages):
    filters = _scaled(filters, width)
    x = row.block(net, f"block{i + 1}", x, channels, filters, stride)
    channels = filters
  _head(net, x, _scaled(_HIDDEN, width), num_classes)
  return NetSpec(input_shape, tuple(net.nodes))


def _head(net, x, hidden, num_classes):
  x = net.add("pool", ops.GlobalPool(), x)
  x = net.add("hidden", ops.Dense(hidden), x)
  x = net.add("hidden_relu", ops.Relu(), x)
  x = net.add("hidden_dropout", ops.Dropout(_DROPOUT), x)
  net.add("logits", ops.Dense(num_classes), x)


def _scaled(channels, width):
  return max(1, round(channels * width))
