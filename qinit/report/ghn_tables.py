"""Rows of the evaluation of hypernetworks in the layout of Tables 3 to 5."""

import collections
from collections.abc import Iterable

from qinit.record import Record
from qinit.report.document import MISSING, Table
from qinit.report.ghn_cells import (
  HEAD,
  SPLITS,
  at_own_widths,
  by_cell,
  cell_key,
  common,
  control_of,
  controls,
  is_control,
  kind,
  names,
  row_head,
  width_label,
  width_order,
)
from qinit.report.ghn_means import (
  best,
  compared,
  difference,
  differences,
  from_chance,
  mean_and_error,
  points_and_ratio,
  with_median,
)


def accuracy_table(records: Iterable[Record], metric: str) -> Table:
  """Mean ± standard error; maximum over the networks of each split, a row for
  each hypernetwork and width (and range of the weights, where not absolute)."""
  found = by_cell(records)
  rows = dict.fromkeys((ghn, bits, clip) for ghn, bits, clip, _ in found)
  splits = [s for s in SPLITS if any(key[3] == s for key in found)]
  return Table(
    headers=("Hypernetwork", "Width", *(SPLITS[s] for s in splits)),
    rows=tuple(
      (
        ghn,
        width_label(bits, clip),
        *(_cell(found.get((ghn, bits, clip, s), {}), metric) for s in splits),
      )
      for ghn, bits, clip in rows
    ),
    text_columns=2,
  )


def change_table(records: Iterable[Record]) -> Table:
  """What quantisation changes, over networks: the accuracy; QMSE and QCE with
  their medians."""
  found = by_cell(records)
  rows = []
  for key, metrics in found.items():
    if key[1] == "float":
      continue
    rows.append(
      (
        *row_head(key, metrics),
        mean_and_error(metrics, "accuracy_change", 3),
        with_median(metrics, "qmse", 3),
        with_median(metrics, "qce", 3),
      )
    )
  return Table(
    (
      *HEAD,
      "Change of accuracy",
      "QMSE",
      "QCE",
    ),
    tuple(rows),
    text_columns=3,
  )


def own_width_table(records: Iterable[Record]) -> Table:
  """Hypernetworks whose name ends with a width, at that width: the accuracy,
  and its differences from chance (the best that one answer for all images
  does, where that is known), from the networks' own float accuracy and from
  each control, as points ± standard error (their ratio)."""
  found = by_cell(records)
  others, rows = controls(found), []
  for (ghn, bits, clip, split), mine in at_own_widths(found):
    bases = [found.get((ghn, "float", clip, split), {})]
    bases += [found.get((name, bits, clip, split), {}) for name in others]
    rows.append(
      (
        *row_head((ghn, bits, clip, split), mine),
        mean_and_error(mine, "accuracy", 1),
        from_chance(mine),
        *(compared(mine, theirs) for theirs in bases),
      )
    )
  return Table(
    (
      *HEAD,
      "Accuracy",
      "From chance",
      "From its float",
      *(f"From {name}" for name in others),
    ),
    tuple(rows),
    text_columns=3,
  )


def answer_table(records: Iterable[Record]) -> Table:
  """For each hypernetwork whose name ends with a width, what it gains there
  beside its control, on the ID networks or else on the first split that both
  have: a row over the networks that both were evaluated on, those of one kind
  together from the widest on; a headline."""
  found = by_cell(records)
  rows: dict[tuple, tuple[str, ...]] = {}
  kinds = [kind(name) for name in names(found)]

  def place(item):
    (ghn, bits, _, _), _ = item
    return kinds.index(kind(ghn)), width_order(bits)

  for key, mine in sorted(at_own_widths(found), key=place):
    ghn, bits, clip, split = key
    other = control_of(ghn, found)
    theirs = found.get((other, bits, clip, split), {})
    own, its = common(mine, theirs), common(theirs, mine)
    if other and len(own) > 1:
      rows.setdefault((ghn, clip), _answer(key, other, own, its))
  return Table(
    (*HEAD, "Accuracy", "Control", "Its accuracy", "Difference"),
    tuple(rows.values()),
    text_columns=3,
    headline=True,
  )


def _answer(key, other, mine, theirs):
  own, its = (mean_and_error(m, "accuracy", 1) for m in (mine, theirs))
  return (*row_head(key, mine), own, other, its, difference(mine, theirs))


def paired_table(records: Iterable[Record]) -> Table:
  """Differences of accuracy from the controls (from all others where there is
  no control) over the networks that both were evaluated on, and by how many
  standard errors."""
  found, rows = by_cell(records), []
  for (ghn, bits, clip, split), mine in found.items():
    for other in _partners(ghn, found):
      pairs = differences(mine, found.get((other, bits, clip, split), {}))
      if len(pairs) > 1:
        points, ratio = points_and_ratio(pairs)
        rows.append(
          (
            f"{ghn} − {other}",
            SPLITS[split],
            width_label(bits, clip),
            str(len(pairs)),
            points,
            ratio,
          )
        )
  return Table(
    ("Difference", "Split", "Width", "Networks", "Points", "Standard errors"),
    tuple(rows),
    text_columns=3,
  )


def _partners(ghn, found):
  """The controls; of controls, or of all where there are none, those before
  it, so that no pair stands there twice."""
  others = controls(found)
  if others and not is_control(ghn):
    return others
  alike = others or names(found)
  return alike[: alike.index(ghn)]


def extent(records: Iterable[Record]) -> str:
  """Networks and images of each split, as a sentence."""
  found = by_cell(records)
  parts = []
  for split, name in SPLITS.items():
    members = [metrics for key, metrics in found.items() if key[3] == split]
    images = {m["images"] for metrics in members for m in metrics.values()}
    if members:
      networks = _either({len(metrics) for metrics in members})
      parts.append(f"{name} {networks} on {_either(images)}")
  return f"Networks and test images: {', '.join(parts)}."


def left_out(records: Iterable[Record]) -> str:
  """Whose logits are not finite, as a sentence; empty where all are."""
  lost = collections.Counter(
    cell_key(record) for record in records if record.status != "ok"
  )
  parts = [
    f"{ghn} at {width_label(bits, clip)} ({SPLITS[split]}): {count}"
    for (ghn, bits, clip, split), count in lost.items()
  ]
  if not parts:
    return ""
  return (
    "Networks whose logits are not finite are left out, in all tables and"
    f" figures: {', '.join(parts)}."
  )


def _either(counts):
  """ "6 or 9", "6 to 12"."""
  ordered = [str(count) for count in sorted(counts)]
  if len(ordered) > 2:
    return f"{ordered[0]} to {ordered[-1]}"
  return " or ".join(ordered)


def _cell(metrics, name):
  if not metrics:
    return MISSING
  return f"{mean_and_error(metrics, name, 1)}; {best(metrics, name)}"
