"""How wide weights and activations are, and where activations are clipped."""

import dataclasses
import re

from qinit.errors import QinitError

# (lo, hi) by quantisation point, plain numbers that JSON can hold. A kernel's
# key may be there too; without it the kernel's own minimum and maximum count.
Ranges = dict[str, tuple[float, float]]

_WIDTH = re.compile(r"w(\d+)a(\d+)")


@dataclasses.dataclass(frozen=True)
class Scheme:
  """Widths in bits, 2 to 8, and the clipping of activations.

  Attributes:
    clip_percentile: percent of the calibration values clipped on either side
      (0 keeps them all). Weights and logits are never clipped.

  Raises:
    QinitError: for a width or a percentile out of bounds.
  """

  weight_bits: int = 8
  activation_bits: int = 8
  clip_percentile: float = 1.0

  def __post_init__(self):
    for what in ("weight", "activation"):
      bits = getattr(self, f"{what}_bits")
      if type(bits) is not int or not 2 <= bits <= 8:
        raise QinitError(f"{what}s need 2 to 8 bits, not {bits!r}")
    if not 0 <= self.clip_percentile < 50:
      raise QinitError(
        "clip_percentile must be at least 0 and below 50, not"
        f" {self.clip_percentile}"
      )

  @property
  def name(self) -> str:
    """As `parse_bits` reads it: "w8a8"."""
    return f"w{self.weight_bits}a{self.activation_bits}"


def parse_bits(text: str, clip_percentile: float = 1.0) -> list[Scheme | None]:
  """The schemes of a list such as "float,w8a8,w4a4"; `float` is None.

  Raises:
    QinitError: naming the entry that is no width.
  """
  parts = (part.strip() for part in text.split(","))
  return [
    None if part == "float" else parse_width(part, clip_percentile)
    for part in parts
  ]


def parse_width(text: str, clip_percentile: float = 1.0) -> Scheme:
  """The scheme of a name such as "w4a8"; raises QinitError."""
  match = _WIDTH.fullmatch(text)
  if not match:
    raise QinitError(
      f"{text!r} is no width: write float or, for 8-bit weights and 4-bit"
      " activations, w8a4"
    )
  return Scheme(int(match[1]), int(match[2]), clip_percentile)


def bits_of(how) -> tuple[int, int]:
  """Bits of weights and activations of a `Scheme` (or what else has them),
  (0, 0) for None: as a hypernetwork that sees widths is told of them."""
  return (how.weight_bits, how.activation_bits) if how else (0, 0)
