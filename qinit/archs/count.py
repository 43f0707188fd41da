"""Parameters, multiply-accumulates and graph nodes of a sampled network,
counted from its constructor arguments: hundreds of times faster than building
it.

Every op of a cell maps w channels to w channels on the output's pixels, so a
cell needs w^2 quadratic + w linear weights per pixel, where `quadratic` and
`linear` add up over its ops.
"""

from typing import NamedTuple

from qinit.archs.canonical import live_states, terms
from qinit.archs.genotype import NetConfig

_PIXELS, _COLOURS = 32, 3


class Counts(NamedTuple):
  """Of a whole network, as NetSpec and the graph's view have them."""

  num_params: int
  macs: int
  num_nodes: int


class _Ops(NamedTuple):
  """Kernel weights are quadratic w^2 + linear w; `nodes` without BatchNorm."""

  quadratic: int
  linear: int
  norms: int
  nodes: int


_SKIP = _Ops(0, 0, 0, 0)
_POOL = _Ops(0, 0, 0, 1)
_FACTORIZED_REDUCE = _Ops(1, 0, 1, 3)


def count(config: NetConfig) -> Counts:
  """Counts for 32x32 images.

  The cells must be preprocessed, without `none`, and no state may read one
  state twice: what the sampler draws.
  """
  totals = _Totals(config.norm is not None)
  channels, pixels = _stem(config, totals)
  kinds = {
    reduction: _cell_ops(config.genotype, reduction)
    for reduction in (False, True)
  }
  width, reduced_before = config.C, config.stem_type == 1
  for c in range(config.n_cells):
    reduction = c > 0 and c in (config.n_cells // 3, 2 * config.n_cells // 3)
    width *= config.C_mult if reduction else 1
    totals.preprocess(sum(channels), width, pixels, reduced_before)
    pixels = -(-pixels // 2) if reduction else pixels
    ops, outputs = kinds[reduction]
    totals.ops(ops, width, pixels)
    channels, reduced_before = (channels[1], width * outputs), reduction
  _head(config, totals, channels[1], pixels)
  return Counts(totals.params, totals.macs, totals.nodes)


class _Totals:
  """Sums over the network; starts with the node of the input."""

  def __init__(self, norm: bool):
    self.norm, self.params, self.macs, self.nodes = norm, 0, 0, 1

  def conv(self, weights, channels, pixels):
    """A convolution to `channels` channels with its BatchNorm."""
    self.params += weights + 2 * channels * self.norm
    self.macs += weights * pixels * pixels
    self.nodes += 1 + self.norm

  def preprocess(self, channels, width, pixels, reduced_before):
    """Both inputs, with `channels` channels together, to `width` each."""
    self.conv(channels * width, 2 * width, pixels)
    self.nodes += 1 + self.norm + 2 * reduced_before

  def ops(self, ops, width, pixels):
    weights = ops.quadratic * width * width + ops.linear * width
    self.params += weights + 2 * width * ops.norms * self.norm
    self.macs += weights * pixels * pixels
    self.nodes += ops.nodes + ops.norms * self.norm

  def dense(self, inputs, units):
    self.params += inputs * units + units
    self.macs += inputs * units
    self.nodes += 2


def _stem(config, totals):
  """Channels of the two tensors that the first cell reads, and their height
  after its preprocessing."""
  width, window = config.C, config.ks * config.ks
  if config.stem_type == 1:
    half = width // 2
    totals.conv(window * _COLOURS * half, half, _PIXELS)
    totals.conv(9 * half * width, width, _PIXELS)
    totals.conv(9 * width * width, width, _PIXELS // 2)
    return (width, width), _PIXELS // 2
  totals.conv(window * _COLOURS * 3 * width, 3 * width, _PIXELS)
  totals.nodes += config.stem_pool
  return (3 * width,) * 2, _PIXELS // 2 if config.stem_pool else _PIXELS


def _head(config, totals, channels, pixels):
  features = channels if config.glob_avg else channels * pixels * pixels
  totals.nodes += config.glob_avg
  if config.fc_layers == 2:
    totals.dense(features, config.fc_dim)
    features = config.fc_dim
  totals.dense(features, config.num_classes)


def _cell_ops(genotype, reduction):
  """The ops, sums and concatenation of a cell added up, and the number of
  states in its output."""
  kind = "reduce" if reduction else "normal"
  edges = getattr(genotype, kind)
  concat = getattr(genotype, f"{kind}_concat")
  live = live_states(edges, concat)
  rows = [
    _op(op, reduction and source < 2)
    for state in live
    for op, source in terms(edges, state)
  ]
  sums = _Ops(0, 0, 0, len(live) + (len(concat) > 1))
  return _Ops(*map(sum, zip(sums, *rows, strict=True))), len(concat)


def _op(op, strided):
  if op == "skip_connect":
    return _FACTORIZED_REDUCE if strided else _SKIP
  kind, size = op.rsplit("_", 1)
  if kind.endswith("pool"):
    return _POOL
  window = int(size[0]) ** 2
  return {
    "conv": _Ops(window, 0, 1, 1),
    "sep_conv": _Ops(2, 2 * window, 2, 4),
    "dil_conv": _Ops(1, window, 1, 2),
  }[kind]
