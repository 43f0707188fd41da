"""One hypernetwork for all widths beside those that were trained for one each
(Section 4.4 of Starting Positions Matter proposes it).

Its name ends with "-all", theirs with their width: "ghn-qat-all" is compared
with "ghn-qat-w4a4" at W4/A4."""

import statistics
from collections.abc import Sequence

from qinit.record import Record
from qinit.report import ghn_cells, ghn_means
from qinit.report.document import (
  MISSING,
  Block,
  Heading,
  Paragraph,
  Table,
  number,
)

_ALL = "all"


def section(records: Sequence[Record]) -> list[Block]:
  """The table with its heading, where there is such a hypernetwork; else
  nothing."""
  rows = table(records)
  if not rows.rows:
    return []
  return [
    Heading("One hypernetwork for all widths", 3),
    Paragraph(
      "Trained at all of these widths, which it sees as features of the nodes"
      " (a chain of layers at a time where they are mixed; mixed layers draw a"
      " width for each layer, which it was not trained for), beside those that"
      " were trained for one width alone. It had as many steps as four of those"
      " together, at learning rates that fell as much later: what it has over"
      " them in float and at 8 bits may be what more training gives, for there"
      " is no float training of as many steps. Differences as above."
    ),
    rows,
  ]


def table(records: Sequence[Record]) -> Table:
  """Its accuracy at each width, that of the hypernetwork of this width, and
  the differences from it and from each control."""
  found = ghn_cells.by_cell(records)
  controls = ghn_cells.controls(found)
  return Table(
    (
      *ghn_cells.HEAD,
      "Accuracy",
      "Of this width alone",
      "From it",
      *(f"From {name}" for name in controls),
    ),
    tuple(
      _row(key, mine, found, controls)
      for key, mine in found.items()
      if key[0].endswith(_ALL)
    ),
    text_columns=3,
  )


def _row(key, mine, found, controls):
  ghn, bits, clip, split = key

  def of(name):
    return found.get((name, bits, clip, split), {})

  narrow = ghn_cells.common(of(ghn.removesuffix(_ALL) + bits), mine)
  return (
    *ghn_cells.row_head(key, mine),
    ghn_means.mean_and_error(mine, "accuracy", 1),
    _mean(narrow),
    ghn_means.compared(mine, narrow),
    *(ghn_means.compared(mine, of(name)) for name in controls),
  )


def _mean(metrics):
  if not metrics:
    return MISSING
  return number(statistics.fmean(m["accuracy"] for m in metrics.values()), 1)
