"""A report as one HTML file without outside resources."""

import base64
from collections.abc import Callable, Iterable
from html import escape

from qinit.report.document import (
  Block,
  Bullets,
  Figure,
  Heading,
  Paragraph,
  Table,
)

_CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { border-bottom: 1px solid #ccc; margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; margin: .5rem 0 1.5rem; }
th { background: #f2f4f6; text-align: left; vertical-align: bottom; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e3e3e3;
  vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
table.prose { min-width: 44rem; }
tr.flagged { background: #fff3e0; font-style: italic; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
figcaption { font-size: .9rem; color: #555; }
"""


def to_html(
  title: str, blocks: Iterable[Block], pictures: dict[str, bytes]
) -> str:
  """The whole page.

  Args:
    title: its heading.
    blocks: its contents.
    pictures: PNG bytes by figure name.
  """
  body = "\n".join(_RENDER[type(b)](b, pictures) for b in blocks)
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n"
    f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
  )


def _heading(block: Heading, _):
  return f"<h{block.level}>{escape(block.text)}</h{block.level}>"


def _paragraph(block: Paragraph, _):
  return f"<p>{escape(block.text)}</p>"


def _bullets(block: Bullets, _):
  items = "\n".join(f"<li>{escape(item)}</li>" for item in block.items)
  return f"<ul>\n{items}\n</ul>"


def _table(block: Table, _):
  head = "".join(f"<th>{escape(h)}</th>" for h in block.headers)
  rows = "\n".join(_row(block, i) for i in range(len(block.rows)))
  # Columns of sentences would be a word wide on a phone: let them scroll.
  prose = (
    ' class="prose"' if 2 < len(block.headers) == block.text_columns else ""
  )
  return (
    f'<div class="scroll"><table{prose}>\n<thead><tr>{head}</tr></thead>\n'
    f"<tbody>\n{rows}\n</tbody></table></div>"
  )


def _row(table, i):
  cells = "".join(
    f"<td>{escape(cell)}</td>"
    if column < table.text_columns
    else f'<td class="number">{escape(cell)}</td>'
    for column, cell in enumerate(table.rows[i])
  )
  flagged = ' class="flagged"' if i in table.flagged else ""
  return f"<tr{flagged}>{cells}</tr>"


def _figure(block: Figure, pictures):
  data = base64.b64encode(pictures[block.name]).decode()
  caption = escape(block.caption)
  return (
    f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
    f"<figcaption>{caption}</figcaption></figure>"
  )


_RENDER: dict[type[Block], Callable[..., str]] = {
  Heading: _heading,
  Paragraph: _paragraph,
  Bullets: _bullets,
  Table: _table,
  Figure: _figure,
}
