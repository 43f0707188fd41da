"""The spaces that ConvNets-250K samples from: every range and probability.

The reference is the generator of DeepNets-1M (Knyazev et al., 2021), reduced
as in Section 4.1 of "Starting Positions Matter". Departures from it:

- Operations: no `none`, attention, squeeze-and-excitation, plain 1x1 and
  1x7-7x1 convolution; separable and dilated convolutions also of 7x7. So
  every network is connected, and its cells are always preprocessed.
- Widths: the reference draws them anew whenever it trains on a network, from
  a table (`WIDTH_TABLE`); here they are drawn once and stored, by the same
  table in all splits. Its test splits have no published rule.
- The limit of 10^7 parameters holds for the stored width in every split; the
  reference counts at width 32, and lets deep networks have 10^8.
"""

import dataclasses
import hashlib
import json
import re

from qinit.archs.genotype import OPS
from qinit.errors import QinitError, one_of

POOLS = ("max_pool_3x3", "avg_pool_3x3", "skip_connect")
SEPARABLE = ("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7")
DILATED = ("dil_conv_3x3", "dil_conv_5x5", "dil_conv_7x7")
REGULAR = ("conv_3x3", "conv_5x5", "conv_7x7")
LARGE_CONVS = ("conv_5x5", "conv_7x7")
_MOST_STEPS = 8

Range = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class WidthRule:
  """Widths for networks with more than `params` parameters (at width 32) or
  more than `n_cells` cells."""

  params: int
  n_cells: int
  widths: tuple[int, ...]


# The first rule that applies; the last always does.
WIDTH_TABLE = (
  WidthRule(800_000, 12, (32,)),
  WidthRule(400_000, 10, (32, 48)),
  WidthRule(200_000, 8, (32, 48, 64)),
  WidthRule(-1, 0, (32, 48, 64, 80, 96, 112, 128)),
)


@dataclasses.dataclass(frozen=True)
class Space:
  """What one split is sampled from. Ranges include both ends; what is not
  given a probability is uniform.

  Attributes:
    ops: operations of the cells.
    p_pool_reduction: that the reduction cell has no convolution.
    n_cells: cells of a network.
    deep_from: the largest number of cells of a network that is not deep,
      drawn per network.
    steps: states of a cell; `deep_steps`: of those of a deep network.
    p_drop_states: that states are left out of the output, each but the last
      then with `p_drop_state`.
    stem_kernels, stem_types, p_stem_pool: the stem; pooling behind type 0.
    width_multipliers: factor on the width at each reduction.
    fc_layers: fully connected layers.
    p_flatten: of a flattening in a network that is not deep, instead of
      global average pooling.
    p_no_norm: of no BatchNorm in a network of at most `no_norm_cells` cells
      and `no_norm_steps` states per cell.
    most_large_convs: 5x5 and 7x7 regular convolutions in a cell.
    width_table: widths of the first cells; those with large convolutions or
      flattening follow its first rule.
    widths: if not empty, the widths instead of the table.
    width_factor: on the widths, either way.
    fc_dims: of a hidden layer; `roomy_fc_dims` where the last rule gave a
      width of at most `roomy_width`.
    max_params, max_macs: trainable parameters, and multiply-accumulates for a
      32x32 image, of the network as it is stored.

  Raises:
    QinitError: naming what is wrong.
  """

  ops: tuple[str, ...] = POOLS + SEPARABLE + DILATED + REGULAR
  p_pool_reduction: float = 0.5
  n_cells: Range = (4, 18)
  deep_from: Range = (7, 10)
  steps: Range = (1, 4)
  deep_steps: Range = (1, 2)
  p_drop_states: float = 0.5
  p_drop_state: float = 0.5
  stem_kernels: tuple[int, ...] = (3, 5, 7)
  stem_types: tuple[int, ...] = (0, 1)
  p_stem_pool: float = 0.5
  width_multipliers: tuple[int, ...] = (1, 2)
  fc_layers: tuple[int, ...] = (1, 2)
  p_flatten: float = 0.1
  p_no_norm: float = 0.5
  no_norm_cells: int = 5
  no_norm_steps: int = 2
  most_large_convs: int = 1
  width_table: tuple[WidthRule, ...] = WIDTH_TABLE
  widths: tuple[int, ...] = ()
  width_factor: int = 1
  fc_dims: tuple[int, ...] = (64, 128, 192, 256)
  roomy_fc_dims: tuple[int, ...] = (64, 128, 192, 256, 320, 384, 448, 512)
  roomy_width: int = 64
  max_params: int = 10_000_000
  max_macs: int | None = None

  def __post_init__(self):
    for op in self.ops:
      one_of("operation", op, OPS[1:])
    if not any("conv" in op for op in self.ops):
      raise QinitError("a space needs a convolution among its operations")
    for name in ("n_cells", "deep_from", "steps", "deep_steps"):
      low, high = getattr(self, name)
      if not 1 <= low <= high:
        raise QinitError(f"{name} must be a range from 1, not {low} to {high}")
    if self.n_cells[0] < 3:
      raise QinitError("n_cells must be 3 or more, for two reductions")
    if max(self.steps[1], self.deep_steps[1]) > _MOST_STEPS:
      raise QinitError(f"a cell has at most {_MOST_STEPS} states")
    if any(w < 8 or w % 8 for w in self.widths):
      raise QinitError("widths must be multiples of 8")
    for name in ("max_params", "max_macs"):
      limit = getattr(self, name)
      if limit is not None and limit < 1:
        raise QinitError(f"{name} must be at least 1, not {limit}")

  @property
  def pool_ops(self) -> tuple[str, ...]:
    """Operations of a reduction cell without convolutions."""
    return tuple(op for op in self.ops if op in POOLS) or self.ops


_IN_DISTRIBUTION = Space()
# The streams of the data set: which space each is sampled from. `bn_free_50k`
# is the training split of BNFree-ConvNets-50K.
PAPER = {
  "bn_free": Space(p_no_norm=1.0, no_norm_cells=18, no_norm_steps=4),
  "test": _IN_DISTRIBUTION,
  "val": _IN_DISTRIBUTION,
  "deep": Space(n_cells=(10, 36), deep_from=(18, 18), no_norm_cells=11),
  "wide": Space(width_factor=4),
  "train": _IN_DISTRIBUTION,
  "bn_free_50k": Space(p_no_norm=1.0, no_norm_cells=18, no_norm_steps=4),
}
# Networks per split. The paper gives those of the training splits; the others
# are DeepNets-1M's, which its standard errors agree with.
PAPER_SIZES = {
  "bn_free": 100,
  "test": 500,
  "val": 500,
  "deep": 100,
  "wide": 100,
  "train": 250_000,
  "bn_free_50k": 50_000,
}


def restricted(
  space: Space,
  ops: tuple[str, ...] = (),
  kernels: tuple[int, ...] = (),
  widths: tuple[int, ...] = (),
  stem_types: tuple[int, ...] = (),
  max_params: int | None = None,
  max_macs: int | None = None,
) -> Space:
  """`space` with what is given; the kernels are those of the stem too.

  Raises:
    QinitError: for an unknown name, a kernel that no operation has, or if no
      convolution is left.
  """
  ops = ops or space.ops
  if kernels:
    for kernel in kernels:
      one_of("kernel size", str(kernel), map(str, space.stem_kernels))
    ops = tuple(op for op in ops if op in POOLS or _kernel(op) in kernels)
  return dataclasses.replace(
    space,
    ops=ops,
    stem_kernels=kernels or space.stem_kernels,
    widths=widths or space.widths,
    stem_types=stem_types or space.stem_types,
    max_params=max_params or space.max_params,
    max_macs=max_macs or space.max_macs,
  )


def mobilenet_like(space: Space) -> Space:
  """Depthwise-separable convolutions only, behind a stem of one regular
  convolution; 1x1 convolutions precede the cells as everywhere."""
  return restricted(space, ops=POOLS + SEPARABLE, stem_types=(0,))


def digest(space: Space) -> str:
  """Sixteen hex digits that identify a space."""
  text = json.dumps(dataclasses.asdict(space), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _kernel(op):
  return int(re.search(r"(\d)x\d$", op)[1])
