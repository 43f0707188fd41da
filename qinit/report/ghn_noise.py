"""What noise in the place of rounding does not show (NoiseQuant)."""

import statistics
from collections.abc import Sequence

from qinit.quant.scheme import parse_width
from qinit.record import Record
from qinit.report.document import Block, Heading, Paragraph, number
from qinit.report.ghn_cells import SPLITS, by_cell, control_of, width_name

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
  and how many kernels are mostly 0, there and in the float control."""
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
    control = control_of(ghn, found)
    emptied = _emptied(records, (ghn, control), split, parse_width(width))
    sentences.append(
      f"{ghn} at {width_name(width)}, {SPLITS[split]}, {len(shared)} networks:"
      f" {one} % with noise, {other} % rounded.{emptied}"
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


def _emptied(records, ghns, split, scheme):
  """How many kernels rounding empties, of a hypernetwork and of its control,
  in the networks of which rows of both keep them; "" if there are none."""
  mine, its = (_kept(records, ghn, split) for ghn in ghns)
  networks = sorted(mine.keys() & its.keys())
  if not networks:
    return ""
  total = sum(len(mine[n]) for n in networks)  # the control's too
  own, other = (
    sum(mostly_zero(kept[n], scheme.weight_bits) for n in networks)
    for kept in (mine, its)
  )
  return (
    f" Of {len(networks)} of the networks of {SPLITS[split]} the predicted"
    " kernels are kept. Rounding in absolute ranges makes at least half of the"
    f" weights 0 in {own} of {total} kernels (as predicted, without BatchNorm"
    f" folded in), and in {other} of {total} of {ghns[1]}, which was trained in"
    f" float.{_particular(own, other)}"
  )


def _particular(mine, its):
  if mine > its:
    return ""
  return (
    " So this is not particular to training with noise, and does not explain"
    " why its gain is lost when rounded."
  )


def _kept(records, ghn, split):
  """Distributions of predicted kernels by network: the same in every row,
  whatever its width and range."""
  return {
    record.cell["network"]: record.metrics["layers"]
    for record in records
    if (record.cell["ghn"], record.cell["split"]) == (ghn, split)
    and "layers" in record.metrics
  }
