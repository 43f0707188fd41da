"""The evaluation in a published hypernetwork's model card, from rows."""

from collections.abc import Iterable

from qinit.record import Record
from qinit.report import ghn_cells, ghn_means
from qinit.report.document import Block, Paragraph, Table

NAME = "MODEL_CARD.md"
_HEADERS = ("Split", "Width", "Networks", "Images", "Accuracy", "Best")


def evaluation(records: Iterable[Record], ghn: str) -> list[Block]:
  """What the networks that `ghn` predicts reach, a row for each split and width
  that it was evaluated on, beside its control; nothing if on none."""
  found = ghn_cells.by_cell(records)
  own = {key: metrics for key, metrics in found.items() if key[0] == ghn}
  if not own:
    return []
  control = ghn_cells.control_of(ghn, found)
  table = _compared(own, found, control) if control else _alone(own)
  return [Paragraph(_sentence(own, control)), table]


def _sentence(own, control):
  text = (
    "Networks that it never saw, top-1 accuracy in percent as mean ± standard"
    " error, ranges and BatchNorm's statistics those of batches of 64"
  )
  if control:
    text += f", beside its float control `{control}` on the same"
  return f"{text}.{_chance({_images(metrics) for metrics in own.values()})}"


def _chance(images):
  known = [
    f"{ghn_means.ONE_ANSWER[n]:.1f} on {n:,}"
    for n in sorted(images)
    if n in ghn_means.ONE_ANSWER
  ]
  text = " The most that one answer for all images reaches: "
  return f"{text}{', '.join(known)}." if known else ""


def _alone(own):
  rows = [_row(key, mine) for key, mine in own.items()]
  return Table(_HEADERS, tuple(rows), text_columns=2)


def _compared(own, found, control):
  rows = []
  for key, mine in own.items():
    theirs = found.get((control, *key[1:]), {})
    shared = ghn_cells.common(theirs, mine)
    accuracy = ghn_means.mean_and_error(shared, "accuracy", 1)
    rows.append(
      (*_row(key, mine), accuracy, ghn_means.difference(mine, shared))
    )
  return Table(
    (*_HEADERS, "Control", "Difference"), tuple(rows), text_columns=2
  )


def _row(key, mine):
  _, split, width, networks = ghn_cells.row_head(key, mine)
  accuracy = ghn_means.mean_and_error(mine, "accuracy", 1)
  best = ghn_means.best(mine, "accuracy")
  return split, width, networks, f"{_images(mine):,}", accuracy, best


def _images(metrics):
  return max(m["images"] for m in metrics.values())
