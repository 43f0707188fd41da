"""Comma lists of the command line: the axes of a grid."""

from pathlib import Path

from qinit.archs.zoo import ARCHS
from qinit.errors import QinitError, one_of


def names(what: str, text: str, table) -> tuple[str, ...]:
  """The entries of a comma list, all of them in `table`; `all` for all.

  Raises:
    QinitError: naming an entry that is not, and those near it.
  """
  if text == "all":
    return tuple(table)
  return unique(one_of(what, part.strip(), table) for part in text.split(","))


def archs(text: str) -> tuple[str, ...]:
  """Names of the zoo and JSON files of networks; raises QinitError."""
  if text == "all":
    return tuple(ARCHS)
  parts = [part.strip() for part in text.split(",")]
  return unique(
    p if Path(p).is_file() else one_of("architecture", p, ARCHS) for p in parts
  )


def seeds(text: str) -> tuple[int, ...]:
  """Whole numbers from 0; raises QinitError."""
  parts = [part.strip() for part in text.split(",")]
  for part in parts:
    if not part.isdigit() or int(part) >= 2**30:
      raise QinitError(
        f"{part!r} is no seed: write whole numbers from 0 such as --seeds=0,1,2"
      )
  return unique(int(part) for part in parts)


def widths(text: str) -> tuple[str, ...]:
  """Names of the widths such as w8a8, without float; raises QinitError."""
  from qinit.quant.scheme import parse_bits

  schemes = parse_bits(text)
  names = [scheme.name for scheme in schemes if scheme]
  if len(names) < len(schemes):
    raise QinitError(
      "every row has the float accuracy: leave float out of --bits"
    )
  return unique(names)


def unique(values) -> tuple:
  """The values in their order, each once."""
  return tuple(dict.fromkeys(values))
