"""Constructor arguments of DARTS-style networks, the family of DeepNets-1M
(Knyazev et al., 2021), and their JSON form."""

import dataclasses
import json

from qinit.errors import SpecError

OPS = (
  "none",
  "skip_connect",
  "max_pool_3x3",
  "avg_pool_3x3",
  "sep_conv_3x3",
  "sep_conv_5x5",
  "sep_conv_7x7",
  "dil_conv_3x3",
  "dil_conv_5x5",
  "dil_conv_7x7",
  "conv_1x1",
  "conv_3x3",
  "conv_5x5",
  "conv_7x7",
  "conv_7x1_1x7",
)
NORMS = ("bn", "bnorm", "bn-track", None)
_UNUSED = ("num_nodes", "num_params")  # bookkeeping of DeepNets-1M
_LIMITS = {
  "n_cells": (1, 128),
  "C": (1, 4096),
  "C_mult": (1, 8),
  "ks": (1, 31),
  "stem_type": (0, 1),
  "fc_layers": (1, 2),
  "fc_dim": (1, 65536),
  "num_classes": (1, 65536),
}
_MAX_STEPS = 32


@dataclasses.dataclass(frozen=True)
class Genotype:
  """Two cells. Each intermediate state sums two consecutive entries
  (op, input state); states 0 and 1 are the outputs of the two cells before,
  and the states of the concat list make the output."""

  normal: tuple[tuple[str, int], ...]
  normal_concat: tuple[int, ...]
  reduce: tuple[tuple[str, int], ...]
  reduce_concat: tuple[int, ...]

  def __post_init__(self):
    for cell in ("normal", "reduce"):
      edges = _edges(f"genotype.{cell}", getattr(self, cell))
      concat = _concat(
        f"genotype.{cell}_concat", getattr(self, f"{cell}_concat"), len(edges)
      )
      object.__setattr__(self, cell, edges)
      object.__setattr__(self, f"{cell}_concat", concat)


@dataclasses.dataclass(frozen=True)
class NetConfig:
  """Constructor arguments of a network of the family.

  Attributes:
    genotype: the cells.
    n_cells: cells; those at n/3 and 2n/3 reduce.
    C: width of the first cells.
    C_mult: factor on the width at each reduction.
    ks: kernel of the stem.
    stem_type: 0, one convolution, or 1, three, the last at stride 2.
    stem_pool: max-pooling behind stem 0.
    norm: "bn", or None for a network without BatchNorm.
    preproc: 1x1 convolutions in front of each cell.
    fc_layers: fully connected layers, 1 or 2, the hidden one `fc_dim` wide.
    glob_avg: global average pooling in front of them, else a flattening.

  Raises:
    SpecError: naming the argument.
  """

  genotype: Genotype
  n_cells: int
  C: int
  C_mult: int = 1
  ks: int = 3
  stem_type: int = 0
  stem_pool: bool = False
  norm: str | None = "bn"
  preproc: bool = True
  fc_layers: int = 1
  fc_dim: int = 256
  glob_avg: bool = True
  num_classes: int = 10

  def __post_init__(self):
    if not isinstance(self.genotype, Genotype):
      raise SpecError("genotype must be a Genotype")
    for name, (least, most) in _LIMITS.items():
      _integer(name, getattr(self, name), least, most)
    if self.ks % 2 == 0:
      raise SpecError(f"ks must be odd, not {self.ks}")
    for name in ("stem_pool", "preproc", "glob_avg"):
      if not isinstance(getattr(self, name), bool):
        raise SpecError(f"{name} must be true or false")
    if self.norm is not None and self.norm not in NORMS[:-1]:
      raise SpecError(f"norm must be one of {NORMS[:-1]} or null")
    if self.stem_pool and self.stem_type == 1:
      raise SpecError("stem_pool goes with stem_type 0 only")

  def to_dict(self) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(self)))


def from_dict(data: dict) -> NetConfig:
  """The inverse of `NetConfig.to_dict`; raises SpecError."""
  if not isinstance(data, dict):
    raise SpecError("a network's arguments must be an object")
  data = {k: v for k, v in data.items() if k not in _UNUSED}
  genotype = data.pop("genotype", None)
  if not isinstance(genotype, dict):
    raise SpecError("genotype must be an object")
  genotype = _construct(Genotype, genotype, "genotype")
  return _construct(NetConfig, {"genotype": genotype, **data}, "the network")


def from_json(text: str) -> NetConfig:
  """Reads constructor arguments from their JSON text; raises SpecError."""
  try:
    return from_dict(json.loads(text))
  except (ValueError, RecursionError) as error:
    if isinstance(error, SpecError):
      raise
    raise SpecError(f"not JSON: {error}") from None


def _construct(cls, data, where):
  fields = dataclasses.fields(cls)
  known = {f.name for f in fields}
  for key in data:
    if key not in known:
      raise SpecError(f"{where} has no argument {key!r}")
  for field in fields:
    if field.name not in data and field.default is dataclasses.MISSING:
      raise SpecError(f"{where} lacks {field.name!r}")
  return cls(**data)


def _integer(where, value, least, most):
  if type(value) is not int or not least <= value <= most:
    raise SpecError(
      f"{where} must be an integer in {least}..{most}, not {value!r}"
    )


def _edges(where, edges):
  if not isinstance(edges, list | tuple) or len(edges) % 2 or not edges:
    raise SpecError(f"{where} must list two ops for each state")
  if len(edges) > 2 * _MAX_STEPS:
    raise SpecError(f"{where} has more than {_MAX_STEPS} states")
  for j, edge in enumerate(edges):
    if not isinstance(edge, list | tuple) or len(edge) != 2:
      raise SpecError(f"{where}[{j}] must be an op and its input state")
    if not isinstance(edge[0], str) or edge[0] not in OPS:
      raise SpecError(f"{where}[{j}]: unknown op {edge[0]!r}")
    _integer(f"{where}[{j}]: the input state", edge[1], 0, j // 2 + 1)
  return tuple((op, index) for op, index in edges)


def _concat(where, concat, num_edges):
  if not isinstance(concat, list | tuple) or not concat:
    raise SpecError(f"{where} must list the states of the output")
  for state in concat:
    _integer(f"{where}: a state", state, 2, num_edges // 2 + 1)
  if len(set(concat)) < len(concat):
    raise SpecError(f"{where} lists a state twice")
  return tuple(concat)
