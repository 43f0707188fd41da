"""The part of a README that shows results: the first table, the first figure
and the headlines of RESULTS.md between two marks."""

from collections.abc import Sequence

from qinit.errors import RunError
from qinit.report.document import (
  Block,
  Figure,
  Paragraph,
  Table,
  to_markdown,
)

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def renewed(text: str, blocks: Sequence[Block], figures: str) -> str:
  """`text` with what lies between the marks made anew.

  Args:
    figures: the folder of the pictures as the README links it.

  Raises:
    RunError: if the marks are missing.
  """
  if text.count(BEGIN) != 1 or text.count(END) != 1:
    raise RunError(f"the file needs one {BEGIN} and behind it one {END}")
  before, rest = text.split(BEGIN)
  _, after = rest.split(END)
  part = to_markdown(excerpt(blocks), figures)
  return f"{before}{BEGIN}\n\n{part}\n{END}{after}"


def excerpt(blocks: Sequence[Block]) -> list[Block]:
  """The first table, the first figure, and all headlines."""
  tables = [b for b in blocks if isinstance(b, Table)]
  figures = [b for b in blocks if isinstance(b, Figure)]
  prose = [b for b in blocks if isinstance(b, Paragraph | Table)]
  return [*tables[:1], *figures[:1], *(b for b in prose if b.headline)]
