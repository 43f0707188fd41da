"""Rows of the evaluation of hypernetworks in the layout of Tables 3 to 5."""

import math
import statistics
from collections.abc import Iterable

from qinit.quant.scheme import parse_width
from qinit.record import Record
from qinit.report.document import MISSING, Table, number

SPLITS = {
  "test": "Test (ID)",
  "deep": "Deep",
  "wide": "Wide",
  "bn_free": "BN-Free",
}
HEAD = ("Hypernetwork", "Split", "Width", "Networks")
CHANCE = 10.0  # percent
# Percent of the first so many test images in their most frequent class: what a
# network that always says the same may reach.
ONE_ANSWER = {10_000: CHANCE, 1_024: 11.62}
_HUGE = 1e5  # logits may explode at two bits
# Top-1 accuracies of the paper: (Table 3, GHN-Q), (Table 4, GHN-QAT of the
# row's own width), by split in the order of SPLITS, as mean and maximum.
PAPER = {
  "float": ("71.1; 80.2", "68.1; 79.8", "69.8; 79.0", "37.8; 56.1"),
  "w8a8": ("70.9; 80.1", "67.9; 79.5", "69.6; 78.6", "37.5; 56.4"),
  "w4a8": ("47.4; 63.9", "39.0; 62.9", "43.8; 63.3", "25.7; 43.7"),
  "w4a4": ("37.2; 52.6", "30.7; 50.2", "34.7; 50.7", "21.5; 36.7"),
  "w2a2": ("11.2; 18.8", "10.4; 13.0", "11.4; 17.7", "11.5; 18.1"),
}
PAPER_QAT = {
  "w8a8": ("71.2; 80.9", "68.0; 79.7", "69.9; 79.6", "36.9; 55.1"),
  "w4a8": ("60.2; 75.3", "56.5; 72.5", "58.1; 73.5", "30.7; 49.2"),
  "w4a4": ("52.5; 65.7", "50.3; 63.7", "50.6; 64.1", "24.8; 37.2"),
  "w2a2": ("26.3; 37.4", "23.1; 34.0", "24.6; 35.6", "10.6; 13.7"),
}
# Table 5, hypernetworks for BN-free networks on these: (width, range), each as
# mean and maximum. W4/A4 was tested with percentile ranges (Section 4.5.1).
PAPER_BN_FREE = {
  ("float", "absolute"): "65.7; 72.9",
  ("w8a8", "absolute"): "64.5; 71.3",
  ("w4a8", "percentile"): "58.0; 65.8",
  ("w4a8", "absolute"): "50.2; 60.9",
  ("w4a4", "percentile"): "49.3; 62.0",
}


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
        _width(bits, clip),
        *(_cell(found.get((ghn, bits, clip, s), {}), metric) for s in splits),
      )
      for ghn, bits, clip in rows
    ),
    text_columns=2,
  )


def paper_table() -> Table:
  """The paper's top-1 accuracies, mean; maximum."""
  rows = [("GHN-Q (Table 3)", width_name(b), *row) for b, row in PAPER.items()]
  rows += [
    ("GHN-QAT (Table 4)", width_name(b), *row) for b, row in PAPER_QAT.items()
  ]
  rows += [
    ("GHN-QAT, BN-free (Table 5)", _width(*key), *[MISSING] * 3, accuracies)
    for key, accuracies in PAPER_BN_FREE.items()
  ]
  return Table(
    ("Hypernetwork", "Width", *SPLITS.values()), tuple(rows), text_columns=2
  )


def change_table(records: Iterable[Record]) -> Table:
  """What quantisation changes, over networks: the accuracy, QMSE and QCE."""
  found = by_cell(records)
  rows = []
  for key, metrics in found.items():
    if key[1] == "float":
      continue
    rows.append(
      (
        *row_head(key, metrics),
        *(
          mean_and_error(metrics, name, 3)
          for name in ("accuracy_change", "qmse", "qce")
        ),
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
  for (ghn, bits, clip, split), mine in _at_own_widths(found):
    bases = [found.get((ghn, "float", clip, split), {})]
    bases += [found.get((name, bits, clip, split), {}) for name in others]
    differences = [_from_chance(mine)]
    differences += [_differences(mine, theirs) for theirs in bases]
    rows.append(
      (
        *row_head((ghn, bits, clip, split), mine),
        mean_and_error(mine, "accuracy", 1),
        *(_with_ratio(d) for d in differences),
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
  kinds = [_kind(name) for name in _names(found)]

  def place(item):
    (ghn, bits, _, _), _ = item
    return kinds.index(_kind(ghn)), width_order(bits)

  for key, mine in sorted(_at_own_widths(found), key=place):
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
      pairs = _differences(mine, found.get((other, bits, clip, split), {}))
      if len(pairs) > 1:
        points, ratio = _points_and_ratio(pairs)
        rows.append(
          (
            f"{ghn} − {other}",
            SPLITS[split],
            _width(bits, clip),
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
  alike = others or _names(found)
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


def is_control(ghn: str) -> bool:
  """Whether it was trained in float for as long as others through
  quantisation."""
  return ghn.endswith("control")


def controls(found: dict[tuple, dict]) -> list[str]:
  """The controls among the hypernetworks of `by_cell`."""
  return [name for name in _names(found) if is_control(name)]


def control_of(ghn: str, found: dict[tuple, dict]) -> str | None:
  """The control to compare with: one whose name has the same first word, as it
  began where `ghn` did ("bnfree-absolute-w4a8", "bnfree-control"), or else the
  first; none for a control."""
  if is_control(ghn):
    return None

  def elsewhere(control):
    return _kind(control) != _kind(ghn)

  return min(controls(found), key=elsewhere, default=None)


def row_head(key: tuple, metrics: dict[int, dict]) -> tuple[str, ...]:
  """The first columns, HEAD, of a cell of `by_cell`."""
  ghn, bits, clip, split = key
  return ghn, SPLITS[split], _width(bits, clip), str(len(metrics))


def by_cell(records: Iterable[Record]) -> dict[tuple, dict[int, dict]]:
  """Metrics by network, by (hypernetwork, width, range of weights, split): the
  hypernetworks in their order, each from its widest width on. Of a network's
  rows the one on the most images counts."""
  found: dict[tuple, dict[int, dict]] = {}
  for record in records:
    if record.status == "ok":
      cell = record.cell
      key = (cell["ghn"], cell["bits"], cell["weight_clip"], cell["split"])
      own = found.setdefault(key, {})
      known = own.setdefault(cell["network"], record.metrics)
      if record.metrics["images"] >= known["images"]:
        own[cell["network"]] = record.metrics
  names, splits = _names(found), list(SPLITS)

  def place(item):
    (ghn, bits, clip, split), _ = item
    return names.index(ghn), clip, width_order(bits), splits.index(split)

  return dict(sorted(found.items(), key=place))


def width_name(bits: str) -> str:
  """ "w4a8" as the paper has it, W4/A8; "w2a2_noise" is W2/A2 noise."""
  if not bits.startswith("w"):
    return {"float": "Float32"}.get(bits, bits.capitalize())
  bits, *quantizer = bits.split("_")
  return " ".join([bits.upper().replace("A", "/A"), *quantizer])


def clip_name(clip: str) -> str:
  """ " (percentile)"; an absolute range of the weights goes unsaid."""
  return "" if clip == "absolute" else f" ({clip})"


def _width(bits, clip):
  return width_name(bits) + clip_name(clip)


def width_order(bits: str) -> tuple:
  """A sorting key: float, from the widest on, noise behind the rounding that it
  stands for, then mixed widths."""
  if not bits.startswith("w"):
    return (0 if bits == "float" else 2,)
  width, _, quantizer = bits.partition("_")
  scheme = parse_width(width)
  return 1, -scheme.weight_bits, -scheme.activation_bits, quantizer


def standard_error(values: list[float]) -> float:
  """Of the mean: the population's standard deviation over sqrt(n)."""
  return statistics.pstdev(values) / math.sqrt(len(values))


def _either(counts):
  """ "6 or 9", "6 to 12"."""
  ordered = [str(count) for count in sorted(counts)]
  if len(ordered) > 2:
    return f"{ordered[0]} to {ordered[-1]}"
  return " or ".join(ordered)


def _values(metrics, name):
  return [m[name] for m in metrics.values()]


def _cell(metrics, name):
  if not metrics:
    return MISSING
  best = number(max(_values(metrics, name)), 1)
  return f"{mean_and_error(metrics, name, 1)}; {best}"


def mean_and_error(metrics: dict[int, dict], name: str, digits: int) -> str:
  """ "72.0 ± 1.4", over networks, "72.0" for one; in powers of ten where it
  explodes; a dash for none."""
  if not metrics:
    return MISSING
  values = _values(metrics, name)
  parts = [statistics.fmean(values)]
  if len(values) > 1:
    parts.append(standard_error(values))
  huge = abs(parts[0]) >= _HUGE
  return " ± ".join(f"{v:.1e}" if huge else number(v, digits) for v in parts)


def _at_own_widths(found):
  """The cells of hypernetworks whose name ends with the cell's width."""
  return [(key, mine) for key, mine in found.items() if key[0].endswith(key[1])]


def _kind(ghn):
  """The first word of its name."""
  return ghn.partition("-")[0]


def _names(found):
  return list(dict.fromkeys(ghn for ghn, *_ in found))


def common(mine: dict[int, dict], theirs: dict[int, dict]) -> dict[int, dict]:
  """Metrics by network, of those that the other has too."""
  return {n: metrics for n, metrics in mine.items() if n in theirs}


def _differences(mine, theirs):
  """Of accuracies, network by network."""
  return [
    mine[n]["accuracy"] - theirs[n]["accuracy"] for n in mine if n in theirs
  ]


def _from_chance(metrics):
  return [
    m["accuracy"] - ONE_ANSWER[m["images"]]
    for m in metrics.values()
    if m["images"] in ONE_ANSWER
  ]


def compared(mine: dict[int, dict], theirs: dict[int, dict]) -> str:
  """The differences of accuracy over the networks that both have, in points,
  and by how many standard errors: "+20.50 ± 0.50 (41.0)"."""
  return _with_ratio(_differences(mine, theirs))


def difference(mine: dict[int, dict], theirs: dict[int, dict]) -> str:
  """As `compared`, without the ratio: "+20.50 ± 0.50"."""
  pairs = _differences(mine, theirs)
  return _points_and_ratio(pairs)[0] if len(pairs) > 1 else MISSING


def _with_ratio(differences):
  """ "+20.50 ± 0.50 (41.0)"; a dash for fewer than two."""
  if len(differences) < 2:
    return MISSING
  points, ratio = _points_and_ratio(differences)
  return f"{points} ({ratio})"


def _points_and_ratio(differences):
  """("+20.50 ± 0.50", "41.0"): the standard error is that of a sample."""
  mean = statistics.fmean(differences)
  error = statistics.stdev(differences) / math.sqrt(len(differences))
  ratio = number(mean / error, 1) if error else MISSING
  return f"{mean:+.2f} ± {error:.2f}", ratio
