"""A report as a list of blocks, and its Markdown form.

Sections build blocks from rows; renderers know nothing of studies. A figure
is drawn only when it is asked for, so that text can be had without drawing.
"""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable

MISSING = "–"


@dataclasses.dataclass(frozen=True)
class Heading:
  text: str
  level: int = 2


@dataclasses.dataclass(frozen=True)
class Paragraph:
  """Prose; a `headline` answers a question and stands in the README too."""

  text: str
  headline: bool = False


@dataclasses.dataclass(frozen=True)
class Bullets:
  items: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
  """Cells as text; `flagged` holds the numbers of the rows to mark; columns
  from `text_columns` on the left are prose, the others numbers; a `headline`
  stands in the README too."""

  headers: tuple[str, ...]
  rows: tuple[tuple[str, ...], ...]
  flagged: frozenset[int] = frozenset()
  text_columns: int = 1
  headline: bool = False

  def _repr_markdown_(self) -> str:
    """What a notebook shows."""
    return to_markdown([self])


@dataclasses.dataclass(frozen=True)
class Figure:
  """A picture: `name` without suffix, `draw` returns a matplotlib figure."""

  name: str
  caption: str
  draw: Callable


Block = Heading | Paragraph | Bullets | Table | Figure


def number(value: float | None, digits: int) -> str:
  """Fixed digits; an en dash for a number that is not there."""
  if value is None or value != value:
    return MISSING
  return f"{value:.{digits}f}"


def to_csv(table: Table) -> str:
  """Comma-separated values; what is missing is left empty."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(table.headers)
  for row in table.rows:
    writer.writerow(["" if cell == MISSING else cell for cell in row])
  return text.getvalue()


def to_markdown(blocks: Iterable[Block], figures: str = "figures") -> str:
  """Markdown whose pictures lie in the folder `figures`."""
  parts = (_MARKDOWN[type(block)](block, figures) for block in blocks)
  return "\n\n".join(parts) + "\n"


def _markdown_table(table, _):
  rules = [
    "---" if i < table.text_columns else "---:"
    for i in range(len(table.headers))
  ]
  lines = [table.headers, rules]
  for i, row in enumerate(table.rows):
    lines.append([f"*{c}*" for c in row] if i in table.flagged else row)
  return "\n".join(_markdown_line(line) for line in lines)


def _markdown_line(cells):
  return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _markdown_figure(figure, folder):
  return f"![{figure.caption}]({folder}/{figure.name}.png)\n\n{figure.caption}"


_MARKDOWN = {
  Heading: lambda block, _: f"{'#' * block.level} {block.text}",
  Paragraph: lambda block, _: block.text,
  Bullets: lambda block, _: "\n".join(f"- {item}" for item in block.items),
  Table: _markdown_table,
  Figure: _markdown_figure,
}
