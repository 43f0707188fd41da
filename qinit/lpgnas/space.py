"""The search space: what a graph block is made of, and which of its tensors
have a precision of their own.

A block is Linear, Attention, Aggregation and Activation, as in LPGNAS; the
options of each are those of GraphNAS. Which earlier blocks a block reads
beside the one before it, and which the output layer reads beside the last, is
the router's choice, as in PDNAS.
"""

import dataclasses

from qinit.errors import QinitError, one_of
from qinit.lpgnas.formats import Format, parse

ATTENTIONS = (
  "const",
  "gcn",
  "gat",
  "gat_sym",
  "cos",
  "linear",
  "generalized_linear",
)
AGGREGATIONS = ("sum", "mean", "max")
ACTIVATIONS = (
  "none",
  "relu",
  "leaky_relu",
  "relu6",
  "elu",
  "tanh",
  "sigmoid",
  "softplus",
)
HEADS = (1, 2, 4, 8)
HIDDEN = (16, 32, 64, 128, 256)
# Scores before the softmax, and what goes into their tanh or leaky ReLU.
SCORE = "fix8.8"
# Biases have 32 bits, 16 of them behind the point.
BIAS = Format("fix", 32, 16)
# Attentions whose coefficients come from parameters; const's are all 1.
LEARNED = ATTENTIONS[2:]

FORMATS = {
  "scaled": {
    "weight": ("binary", "ternary", "scaled3", "scaled4", "scaled6", "scaled8"),
    "activation": ("scaled4", "scaled6", "scaled8", "scaled12", "scaled16"),
    "coefficient": ("fix1.3", "fix1.5", "fix1.7", "fix1.11"),
  },
  "fixed": {
    "weight": (
      "binary",
      "ternary",
      "fix1.3",
      "fix2.2",
      "fix1.5",
      "fix1.7",
      "fix2.6",
      "fix4.4",
      "fix4.8",
      "fix4.12",
    ),
    "activation": (
      "fix2.2",
      "fix4.2",
      "fix4.4",
      "fix4.6",
      "fix4.8",
      "fix4.12",
      "fix8.8",
    ),
    "coefficient": ("fix1.3", "fix1.5", "fix1.7", "fix1.11"),
  },
}


@dataclasses.dataclass(frozen=True)
class Block:
  """One graph block.

  Attributes:
    skips: numbers (from 1) of earlier blocks that it reads beside the one
      right before it.
  """

  attention: str
  aggregation: str
  activation: str
  heads: int
  hidden: int
  skips: tuple[int, ...] = ()

  def __post_init__(self):
    one_of("attention", self.attention, ATTENTIONS)
    one_of("aggregation", self.aggregation, AGGREGATIONS)
    one_of("activation", self.activation, ACTIVATIONS)
    if not 1 <= self.heads <= max(HEADS):
      raise QinitError(f"{self.heads} heads are not 1 to {max(HEADS)}")
    if self.hidden % self.heads:
      raise QinitError(f"{self.hidden} channels have no {self.heads} heads")


@dataclasses.dataclass(frozen=True)
class Architecture:
  """Blocks in order; `skips` are the blocks that the output layer reads
  beside the last."""

  blocks: tuple[Block, ...]
  skips: tuple[int, ...] = ()

  def __post_init__(self):
    readers = [*(b.skips for b in self.blocks), self.skips]
    for reader, skips in enumerate(readers, 1):
      if any(not 1 <= s < reader - 1 for s in skips):
        raise QinitError(f"skips {skips} do not lead to an earlier block")

  def sources(self, reader: int) -> tuple[int, ...]:
    """What block number `reader` reads, or with len(blocks) + 1 the output
    layer: 0 is the graph's features."""
    last = reader > len(self.blocks)
    skips = self.skips if last else self.blocks[reader - 1].skips
    return (*skips, reader - 1)

  def width(self, source: int, num_features: int) -> int:
    return self.blocks[source - 1].hidden if source else num_features

  def to_dict(self) -> dict:
    """As JSON would give it back: with lists for tuples."""
    data = dataclasses.asdict(self)
    blocks = [b | {"skips": list(b["skips"])} for b in data["blocks"]]
    return {"blocks": blocks, "skips": list(self.skips)}

  @classmethod
  def from_dict(cls, data: dict) -> "Architecture":
    blocks = (b | {"skips": tuple(b["skips"])} for b in data["blocks"])
    return cls(tuple(Block(**b) for b in blocks), tuple(data["skips"]))


# Name of a quantised tensor -> name of its format.
Precision = dict[str, str]


def param_shapes(
  arch: Architecture, num_features: int, num_classes: int
) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter. `block2/weight1` is what block 2 multiplies the
  output of block 1 with (0 is the features)."""
  shapes: dict[str, tuple[int, ...]] = {}
  for k, block in enumerate(arch.blocks, 1):
    for s in arch.sources(k):
      size = (arch.width(s, num_features), block.hidden)
      shapes[f"block{k}/weight{s}"] = size
    shapes[f"block{k}/bias"] = (block.hidden,)
    for name in attention_params(block.attention):
      shapes[f"block{k}/{name}"] = (block.hidden,)
  for s in arch.sources(len(arch.blocks) + 1):
    size = (arch.width(s, num_features), num_classes)
    shapes[f"output/weight{s}"] = size
  return shapes | {"output/bias": (num_classes,)}


def attention_params(attention: str) -> tuple[str, ...]:
  """Names of the vectors that an attention learns, one entry a channel."""
  if attention not in LEARNED:
    return ()
  mix = ("mix",) if attention == "generalized_linear" else ()
  return ("left", "right", *mix)


def tensor_of(param: str) -> str | None:
  """The quantised tensor that a parameter belongs to: what a block multiplies
  with shares a format (not an exponent), and so do the vectors of its
  attention. None for biases, which are fix16.16."""
  part, name = param.split("/")
  if name == "bias":
    return None
  return f"{part}/{'weight' if name.startswith('weight') else 'vectors'}"


def format_of(precision: Precision, name: str) -> Format:
  """The format of a tensor as `network.forward` names it."""
  if name.endswith("/score"):
    return parse(SCORE)
  tensor = name if name in precision else tensor_of(name)
  return parse(precision[tensor]) if tensor else BIAS


def tensors(blocks: int) -> dict[str, str]:
  """Every tensor with a precision of its own, and its role."""
  found = {"input": "activation"}
  for k in range(1, blocks + 1):
    found |= {
      f"block{k}/weight": "weight",
      f"block{k}/linear": "activation",
      f"block{k}/vectors": "weight",
      f"block{k}/attention": "coefficient",
      f"block{k}/aggregate": "activation",
      f"block{k}/activation": "activation",
    }
  return found | {"output/weight": "weight"}


def uniform(blocks: int, weights: str, activations: str, coefficients: str):
  """The same format for all tensors of a role; returns a Precision."""
  by_role = {
    "weight": weights,
    "activation": activations,
    "coefficient": coefficients,
  }
  return {name: by_role[role] for name, role in tensors(blocks).items()}


@dataclasses.dataclass(frozen=True)
class Space:
  """What a search may choose from.

  Attributes:
    blocks: 2 to 4.
    formats: "scaled" (per-tensor powers of two) or "fixed" (bare fixed point,
      to the letter of the paper).
    by_role: formats of the roles whose options are others than those.
  """

  blocks: int = 2
  formats: str = "scaled"
  attentions: tuple[str, ...] = ATTENTIONS
  aggregations: tuple[str, ...] = AGGREGATIONS
  activations: tuple[str, ...] = ACTIVATIONS
  heads: tuple[int, ...] = HEADS
  hidden: tuple[int, ...] = HIDDEN
  by_role: tuple[tuple[str, tuple[str, ...]], ...] = ()

  def __post_init__(self):
    if not 2 <= self.blocks <= 4:
      raise QinitError(f"networks have 2 to 4 blocks, not {self.blocks}")
    one_of("formats", self.formats, FORMATS)

  def decisions(self) -> dict[str, tuple]:
    """Options of the architecture by name of the decision."""
    found: dict[str, tuple] = {}
    for k in range(1, self.blocks + 1):
      found |= {
        f"block{k}/attention": self.attentions,
        f"block{k}/aggregation": self.aggregations,
        f"block{k}/activation": self.activations,
        f"block{k}/heads": self.heads,
        f"block{k}/hidden": self.hidden,
      }
    return found | {skip_name(*skip): (False, True) for skip in self.skips()}

  def skips(self) -> list[tuple[int, int]]:
    """(source, reader) of every connection that the router may make."""
    readers = range(3, self.blocks + 2)
    return [(s, reader) for reader in readers for s in range(1, reader - 1)]

  def precisions(self) -> dict[str, tuple[str, ...]]:
    """Formats by name of the tensor."""
    by_role = FORMATS[self.formats] | dict(self.by_role)
    return {name: by_role[r] for name, r in tensors(self.blocks).items()}

  def architecture(self, chosen: dict) -> Architecture:
    """The network that `chosen`, an option for every decision, stands for."""
    blocks = []
    for k in range(1, self.blocks + 1):
      parts = ("attention", "aggregation", "activation", "heads", "hidden")
      options = {part: chosen[f"block{k}/{part}"] for part in parts}
      blocks.append(Block(**options, skips=self._taken(chosen, k)))
    return Architecture(tuple(blocks), self._taken(chosen, self.blocks + 1))

  def _taken(self, chosen, reader):
    return tuple(
      s for s, r in self.skips() if r == reader and chosen[skip_name(s, r)]
    )


def skip_name(source: int, reader: int) -> str:
  return f"router/{source}-{reader}"
