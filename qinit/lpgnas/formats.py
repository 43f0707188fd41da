"""Low-precision formats: integer codes times a power of two.

    value = code * 2^-f

With a = abs(x) for the tensor x to be rounded:

| name | bits | codes | f |
|---|---|---|---|
| fixI.F | I + F | -2^(n-1) .. 2^(n-1) - 1 | F (I counts the sign) |
| scaledN | N | the same | N - 1 - e, with the least e: max(a) < 2^e |
| ternary | 2 | -1, 0, 1 | 2^-f next to the mean of all a > 0.7 mean(a) |
| binary | 1 | -1, 1 | 2^-f next to mean(a) |

Rounding is to even. Bare fixI.F is what the paper describes; `scaled` is the
cure of its dead layers: Glorot weights of a wide layer are all less than half
a step of, say, fix1.3, become 0, and no gradient ever revives them. The
scales of ternary weights (Li and Liu, 2016) and of binary ones are rounded to
powers of two, so that every format is a shift in hardware.

Gradients are straight-through: zero outside of the range of fixI.F and
outside of [-1, 1] for binary, one elsewhere; exponents are constants.
"""

import dataclasses
import functools
import re

from qinit.errors import QuantError

KINDS = ("fix", "scaled", "ternary", "binary")
_FIX = re.compile(r"fix(\d+)\.(\d+)")
_SCALED = re.compile(r"scaled(\d+)")


@dataclasses.dataclass(frozen=True)
class Format:
  """One row of the table above; `frac` is F of fixI.F."""

  kind: str
  bits: int
  frac: int = 0

  @property
  def name(self) -> str:
    if self.kind == "fix":
      return f"fix{self.bits - self.frac}.{self.frac}"
    return f"scaled{self.bits}" if self.kind == "scaled" else self.kind

  @property
  def range(self) -> tuple[int, int]:
    """The least and the largest code."""
    if self.kind in ("ternary", "binary"):
      return -1, 1
    return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1


@functools.cache
def parse(name: str) -> Format:
  """The format of a name such as "fix4.4", "scaled4", "ternary", "binary".

  Raises:
    QuantError: if there is no such format of 1 to 16 bits.
  """
  if name in ("ternary", "binary"):
    return Format(name, 2 if name == "ternary" else 1)
  if match := _FIX.fullmatch(name):
    found = Format("fix", int(match[1]) + int(match[2]), int(match[2]))
  elif match := _SCALED.fullmatch(name):
    found = Format("scaled", int(match[1]))
  else:
    found = Format("none", 0)
  if not 2 <= found.bits <= 16 or found.bits == found.frac:
    raise QuantError(
      f"{name!r} is no format: write binary, ternary, fix4.4 (integer bits"
      " with the sign, fraction bits) or scaled4, of 2 to 16 bits"
    )
  return found
