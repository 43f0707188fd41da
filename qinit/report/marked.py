"""The part of a file, between two marks, that is made from rows: the results
in README.md, the evaluation in a hypernetwork's model card."""

from collections.abc import Sequence

from qinit.errors import RunError
from qinit.report.document import Block, Figure, Paragraph, Table, to_markdown

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def renewed(text: str, blocks: Sequence[Block], figures: str = "") -> str:
  """`text` with the blocks in the place of what lies between the marks.

  Args:
    figures: the folder of the pictures as the file links it.

  Raises:
    RunError: if the marks are missing.
  """
  if text.count(BEGIN) != 1 or text.count(END) != 1:
    raise RunError(f"the file needs one {BEGIN} and behind it one {END}")
  before, rest = text.split(BEGIN)
  _, after = rest.split(END)
  return f"{before}{BEGIN}\n\n{to_markdown(blocks, figures)}\n{END}{after}"


def excerpt(blocks: Sequence[Block]) -> list[Block]:
  """What README.md shows of RESULTS.md: the first table, the first figure, and
  all headlines."""
  tables = [b for b in blocks if isinstance(b, Table)]
  figures = [b for b in blocks if isinstance(b, Figure)]
  prose = [b for b in blocks if isinstance(b, Paragraph | Table)]
  return [*tables[:1], *figures[:1], *(b for b in prose if b.headline)]
