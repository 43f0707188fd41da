"""Remedies for instability at low widths, each against a training that is the
same but for them (Sections 4.4.1 and 4.5 of Starting Positions Matter).

Rows of such trainings carry names of the form TRAINING+REMEDY, or
TRAINING+REMEDY+REMEDY; TRAINING+absolute is the one without."""

from collections.abc import Sequence

from qinit.record import Record
from qinit.report import ghn_cells, ghn_means, ghn_tables
from qinit.report.document import Block, Heading, Paragraph, Table

_AND, PLAIN = "+", "absolute"
_ONE_ANSWER = (
  "Chance is the accuracy of a network that gives one answer for all images:"
  " to reach it is no gain, even from a training that does worse."
)


def apart(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
  """Rows of other hypernetworks, and those of trainings with a remedy."""
  return (
    [row for row in records if _AND not in row.cell["ghn"]],
    [row for row in records if _AND in row.cell["ghn"]],
  )


def section(records: Sequence[Record]) -> list[Block]:
  """The table with its heading, where there are rows; else nothing."""
  if not records:
    return []
  return [
    Heading("Remedies at low widths", 3),
    Paragraph(
      "Short trainings that differ in what is to keep them stable: weights"
      " clipped at 1 % on either side (percentile), learned steps, weights"
      " pulled to the middle of their bin (damping), small tensors (norm)."
      f" {ghn_tables.extent(records)} Differences as above, from the training"
      f" with none of them ({PLAIN} ranges). QMSE: mean ± standard error;"
      f" median. {_ONE_ANSWER}{_collapsed(records)}"
    ),
    table(records),
  ]


def table(records: Sequence[Record]) -> Table:
  """Accuracy at each quantised width, its differences from chance, from the
  plain training and from the networks' own float accuracy, and QMSE."""
  found = ghn_cells.by_cell(records)
  plain = {  # whatever the range
    (_training(ghn), bits, split): metrics
    for (ghn, bits, _, split), metrics in found.items()
    if _remedies(ghn) == [PLAIN]
  }
  rows = [
    _row(key, mine, found, plain)
    for key, mine in found.items()
    if key[1] != "float"
  ]
  return Table(
    (
      "Training",
      "Remedies",
      "Split",
      "Width",
      "Networks",
      "Accuracy",
      "From chance",
      f"From {PLAIN}",
      "From its float",
      "QMSE",
    ),
    tuple(rows),
    text_columns=4,
  )


def _row(key, mine, found, plain):
  ghn, bits, clip, split = key
  theirs = plain.get((_training(ghn), bits, split), {})
  base = found.get((ghn, "float", clip, split), {})
  return (
    _training(ghn),
    ", ".join(_remedies(ghn)),
    ghn_cells.SPLITS[split],
    ghn_cells.width_name(bits),
    str(len(mine)),
    ghn_means.mean_and_error(mine, "accuracy", 1),
    ghn_means.from_chance(mine),
    ghn_means.compared(mine, {} if theirs is mine else theirs),
    ghn_means.compared(mine, base),
    ghn_means.with_median(mine, "qmse", 3),
  )


def _collapsed(records):
  """A sentence for each training most of whose networks are at chance."""
  parts = []
  for (ghn, bits, *_), mine in ghn_cells.by_cell(records).items():
    count = ghn_means.at_chance(mine)
    if bits != "float" and 2 * count > len(mine):
      name = f"{_training(ghn)} {', '.join(_remedies(ghn))}"
      parts.append(
        f" {count} of the {len(mine)} networks of {name} have exactly this"
        f" accuracy at {ghn_cells.width_name(bits)}."
      )
  return "".join(parts)


def _training(ghn):
  return ghn.split(_AND)[0]


def _remedies(ghn):
  return ghn.split(_AND)[1:]
