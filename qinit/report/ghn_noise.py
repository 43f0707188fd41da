"""What noise in the place of rounding does not show (NoiseQuant)."""

import statistics
from collections.abc import Sequence

from qinit.quant.scheme import parse_width
from qinit.record import Record
from qinit.report.document import Block, Heading, Paragraph, number
from qinit.report.ghn_cells import SPLITS, by_cell, width_name

_NOISE = "_noise"
_QUARTILES = slice(3, 6)  # of a row of `ghn_eval.layers`: name, 0, 1, 25, ...


def section(records: Sequence[Record]) -> list[Block]:
  """A paragraph, where something was evaluated with noise; else nothing."""
  found = answers(records)
  if not found:
    return []
  return [
    Heading("Noise and rounding", 3),
    Paragraph(
      "NoiseQuant trains with noise of a step's width where a deployed network"
      f" is rounded. {' '.join(found)}"
    ),
  ]


def answers(records: Sequence[Record]) -> list[str]:
  """A sentence for each hypernetwork, width and split with both accuracies,
  and for each such hypernetwork and width how many kernels are mostly 0."""
  found, sentences = by_cell(records), []
  for (ghn, bits, clip, split), noisy in found.items():
    width = bits.removesuffix(_NOISE)
    rounded = found.get((ghn, width, clip, split), {})
    shared = noisy.keys() & rounded.keys()
    if not bits.endswith(_NOISE) or not shared:
      continue
    accuracies = (
      statistics.fmean(metrics[n]["accuracy"] for n in shared)
      for metrics in (noisy, rounded)
    )
    one, other = (number(accuracy, 1) for accuracy in accuracies)
    sentences.append(
      f"{ghn} at {width_name(width)}, {SPLITS[split]}, {len(shared)} networks:"
      f" {one} % with noise, {other} % rounded{_emptied(records, ghn, width)}."
    )
  return sentences


def mostly_zero(layers: list[list], bits: int) -> int:
  """How many kernels of a row of `ghn_eval.layers` have at least half of their
  weights rounded to 0 at this width: the quartiles lie within half a step."""
  return sum(
    max(map(abs, row[_QUARTILES])) < _step(row, bits) / 2 for row in layers
  )


def _step(row, bits):
  """Eq. 2 of Starting Positions Matter, the range widened to hold 0."""
  _, lo, *_, hi = row
  return (max(hi, 0) - min(lo, 0)) / (2**bits - 1)


def _emptied(records, ghn, width):
  """Of the kernels that rows of the hypernetwork keep; "" if none do."""
  kept = [
    record.metrics["layers"]
    for record in records
    if record.cell["ghn"] == ghn and "layers" in record.metrics
  ]
  bits = parse_width(width).weight_bits
  count = sum(mostly_zero(layers, bits) for layers in kept)
  total = sum(map(len, kept))
  if not total:
    return ""
  return (
    f"; rounding would make at least half of the weights 0 in {count} of the"
    f" {total} predicted kernels whose distributions are kept, which noise"
    " leaves as they are in the mean"
  )
