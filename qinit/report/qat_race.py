"""Predicted starts against random ones: steps to an accuracy, and accuracy."""

import math
import statistics
from collections.abc import Iterator

from qinit.record import Record
from qinit.report.document import Block, Paragraph, Table
from qinit.report.qat_rows import Group, groups

# Random starts too arrive at these percent of test accuracy.
_TARGETS = (20.0, 30.0)
_HEADERS = (
  "Network",
  "Bits",
  "Method",
  "Quantizer",
  "Predicted start",
  *(f"Steps to {target:.0f} %" for target in _TARGETS),
  "Quantised",
)
_ANSWER = (
  "Does a predicted start save training for quantised networks? Beside the best"
  " random start {} (in brackets the steps saved where it was sooner)."
)
_MEANING = (
  "After the stroke: the best random start of each column. Steps are those of"
  " the whole training, means over seeds; never, if a seed never was."
)
_WINS = (
  "{start} was right on {early[0]:.0f} % of the images sooner in {wins[0]}"
  " trainings{saved[0]}, on {early[1]:.0f} % in {wins[1]}{saved[1]}, and in the"
  " end the more accurate one in {wins[2]}"
)


def race(records: list[Record], headline: bool = True) -> Iterator[Block]:
  """Predicted starts against the best random start of each kind of training,
  where both ran: the answer, a headline or not, what the table means, and the
  table."""
  rows: list[tuple[str, ...]] = []
  found: dict[str, list[list[tuple[float, float]]]] = {}
  for way, scores in _by_way(records).items():
    predicted = {start for start in scores if start.startswith("ghn")}
    rest = [scores[start] for start in scores if start not in predicted]
    best = [max(column) for column in zip(*rest, strict=True)]
    for start in sorted(predicted) if rest else ():
      pairs = list(zip(scores[start], best, strict=True))
      found.setdefault(start, []).append(pairs)
      rows.append((*way, start, *(" / ".join(map(_score, p)) for p in pairs)))
  if rows:
    answers = "; ".join(_answer(start, pairs) for start, pairs in found.items())
    yield Paragraph(_ANSWER.format(answers), headline)
    yield Paragraph(_MEANING)
    yield Table(_HEADERS, tuple(rows), text_columns=5)


def _by_way(records):
  """The scores of each start, for each network, width and way of training."""
  found: dict[tuple[str, ...], dict[str, list[float]]] = {}
  for group in groups(records):
    if group.trained and group.is_drawn:
      network, bits, start, *how = group.names
      found.setdefault((network, bits, *how), {})[start] = _scores(group)
  return found


def _scores(group: Group) -> list[float]:
  """The more the better: minus the steps to each target, accuracy. A seed that
  diverged never was at a target."""
  steps = (_mean_steps(group.arrivals(target)) for target in _TARGETS)
  accuracy = statistics.fmean(group.values("quint8_accuracy"))
  return [*(-s for s in steps), accuracy]


def _mean_steps(found: list[float | None]) -> float:
  arrived = [steps for steps in found if steps is not None]
  return statistics.fmean(arrived) if arrived == found else math.inf


def _answer(start, pairs):
  """The sentence's part on one start, from (its score, the best) by training
  and column."""
  columns = list(zip(*pairs, strict=True))
  won = [sum(mine > best for mine, best in column) for column in columns]
  return _WINS.format(
    start=start.removeprefix("ghn_"),
    early=_TARGETS,
    wins=[f"{count} of {len(pairs)}" for count in won],
    saved=[_saved(column) for column in columns[: len(_TARGETS)]],
  )


def _saved(column):
  """ " (12 to 34 %)" of the best random start's steps; nothing if none was."""
  found = [
    100 * (1 - mine / best)
    for mine, best in column
    if mine > best and best > -math.inf
  ]
  ends = dict.fromkeys(f"{f(found):.0f}" for f in (min, max) if found)
  return f" ({' to '.join(ends)} %)" if ends else ""


def _score(value):
  if value == -math.inf:
    return "never"
  return f"{-value:.0f}" if value <= 0 else f"{value:.2f}"
