"""Random networks: candidate i is a function of (space, seed, stream, i)."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from qinit.archs.count import count
from qinit.archs.genotype import Genotype, NetConfig
from qinit.archs.space import LARGE_CONVS, Range, Space

_WORDS = 128  # enough for two cells of eight states
_COUNTING_WIDTH, _COUNTING_FC_DIM = 32, 256  # the reference counts with these


class Stream:
  """Random numbers of one candidate.

  Philox is counter-based: the stream of every candidate begins at a place of
  its own. Only its bits are used, which NumPy guarantees never to change;
  what its Generator makes of them it does not.
  """

  def __init__(self, seed: int, name: str, index: int):
    philox = np.random.Philox(key=_key(seed, name), counter=[0, 0, index, 0])
    self._words = iter(philox.random_raw(_WORDS).tolist())

  def below(self, n: int) -> int:
    """Uniform in 0..n-1."""
    return (next(self._words) >> 32) * n >> 32

  def between(self, bounds: Range) -> int:
    """Uniform, both ends included."""
    return bounds[0] + self.below(bounds[1] - bounds[0] + 1)

  def choice(self, values: Sequence):
    return values[self.below(len(values))]

  def coin(self, p: float) -> bool:
    """True with probability `p`."""
    return (next(self._words) >> 11) * 2.0**-53 < p


def candidate(
  space: Space, seed: int, stream: str, index: int
) -> NetConfig | None:
  """The candidate, or None where it is rejected: nothing to learn, too many
  large convolutions, or too large a network."""
  draw = Stream(seed, stream, index)
  n_cells = draw.between(space.n_cells)
  deep = n_cells > draw.between(space.deep_from)
  steps = draw.between(space.deep_steps if deep else space.steps)
  genotype = _genotype(draw, space, steps)
  if not _acceptable(genotype, space):
    return None
  stem_type = draw.choice(space.stem_types)
  few = n_cells <= space.no_norm_cells and steps <= space.no_norm_steps
  config = NetConfig(
    genotype,
    n_cells,
    C=_COUNTING_WIDTH,
    C_mult=draw.choice(space.width_multipliers),
    ks=draw.choice(space.stem_kernels),
    stem_type=stem_type,
    stem_pool=stem_type == 0 and draw.coin(space.p_stem_pool),
    norm=None if few and draw.coin(space.p_no_norm) else "bn",
    fc_layers=draw.choice(space.fc_layers),
    fc_dim=_COUNTING_FC_DIM,
    glob_avg=deep or not draw.coin(space.p_flatten),
  )
  config = _with_widths(draw, space, config)
  return config if _within(space, config) else None


def _genotype(draw, space, steps):
  normal = _cell(draw, space.ops, steps)
  pools = draw.coin(space.p_pool_reduction)
  reduce = _cell(draw, space.pool_ops if pools else space.ops, steps)
  dropping = steps > 1 and draw.coin(space.p_drop_states)
  concat = tuple(
    state
    for state in range(2, steps + 2)
    if not (dropping and state < steps + 1 and draw.coin(space.p_drop_state))
  )
  return Genotype(normal, concat, reduce, concat)


def _cell(draw, ops, steps):
  """Each state sums two ops on two different states before it, which is what
  the reference's random scores amount to."""
  edges = []
  for state in range(2, steps + 2):
    first, second = draw.below(state), draw.below(state - 1)
    second += second >= first
    edges += [(draw.choice(ops), first), (draw.choice(ops), second)]
  return tuple(edges)


def _acceptable(genotype, space):
  cells = [[op for op, _ in genotype.normal], [op for op, _ in genotype.reduce]]
  large = max(sum(op in LARGE_CONVS for op in cell) for cell in cells)
  learnable = any("conv" in op for cell in cells for op in cell)
  return learnable and large <= space.most_large_convs


def _with_widths(draw, space, config):
  """Widths by the reference's training table, from the size at width 32."""
  rule = _rule(space, config)
  width = draw.choice(space.widths or rule.widths)
  roomy = rule is space.width_table[-1] and width <= space.roomy_width
  fc_dim = draw.choice(space.roomy_fc_dims if roomy else space.fc_dims)
  return dataclasses.replace(
    config, C=width * space.width_factor, fc_dim=fc_dim
  )


def _rule(space, config):
  first, *others, last = space.width_table
  edges = config.genotype.normal + config.genotype.reduce
  if not config.glob_avg or any(op in LARGE_CONVS for op, _ in edges):
    return first
  params = count(config).num_params
  for rule in (first, *others):
    if params > rule.params or config.n_cells > rule.n_cells:
      return rule
  return last


def _within(space, config):
  counts = count(config)
  return counts.num_params <= space.max_params and (
    space.max_macs is None or counts.macs <= space.max_macs
  )


@functools.cache
def _key(seed, name):
  digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
  return np.frombuffer(digest[:16], "<u8").astype(np.uint64)
