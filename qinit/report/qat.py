"""The section on quantisation-aware training: start x method."""

import itertools
import math
import statistics
from collections.abc import Iterator

from matplotlib.figure import Figure as Picture

from qinit.archs.zoo import ARCHS
from qinit.record import Record
from qinit.report import grid, style
from qinit.report.document import (
  Block,
  Figure,
  Heading,
  Paragraph,
  Table,
  number,
)
from qinit.report.sources import (
  Study,
  by_config,
  difference,
  in_both,
  run_on,
  told,
)

_AXES = ("arch", "bits", "start", "method", "quantizer")
# A curve counts as having arrived at these percent of test accuracy.
TARGETS = (20.0, 30.0, 50.0)
_EARLY = TARGETS[:2]
_TFMOT = "tfmot_default"  # the quantizer that is TFMOT's own scheme
_BESIDE = (
  "Network",
  "Start",
  "Method",
  "Quantizer",
  "Seeds",
  "Before the first step",
  "After one epoch",
  "After all",
  "Graph's codes (%)",
  "Milliseconds a step",
)
_RACE = (
  "Network",
  "Bits",
  "Method",
  "Quantizer",
  "Predicted start",
  *(f"Steps to {target:.0f} %" for target in _EARLY),
  "Quantised",
)
# What differs in training: equalising, correcting and learned rounding come
# after that of ptq.
_TRAININGS = ("ptq", "float_qat", "qat")
_ANSWER = (
  "Does a predicted start save training? Beside the best random start of each"
  " column (after the stroke) {}. Steps are those of the whole training, means"
  " over seeds; never, if a seed never was."
)
_WINS = (
  "{start} was right on {early[0]:.0f} % of the images sooner in {wins[0]}"
  " trainings, on {early[1]:.0f} % in {wins[1]}, and in the end the more"
  " accurate one in {wins[2]}"
)
# Of several quantizers in one panel; dots are for float.
_DASHES = ("-", "--", "-.")
# The float stage of a training, and the stage for quantisation.
_CURVES = ("float_curve", "curve")
_HEADERS = (
  "Network",
  "Bits",
  "Start",
  "Method",
  "Quantizer",
  "Seeds",
  "Float",
  "Before QAT",
  "Quantised",
  "SD",
  "LiteRT",
  "Equal codes (%)",
  "Graph's codes (%)",
  "Oscillating (%)",
)


_CHANGED = (*_HEADERS[:6], "Quantised, above", "Quantised, here")
_MEANING = (
  "Accuracies in percent of the whole test set, means over the seeds that"
  " trained; steps are those until the network in training for quantisation is"
  " right on so many of a thousand test images (after training in float: the"
  " float network), seeds that never are left out and counted in brackets."
)
_PLAN = (
  "The plan: He uniform, Glorot uniform, RandUni_Med, GHN-2 and GHN-QAT, each"
  " trained in float and quantised, in float and then for quantisation, and for"
  " quantisation from the start, at W8A8 and W4A4, on dws_conv_bn, mbnetv2_bn"
  " and a sampled ConvNet, three seeds. What has no row below was not run."
)


def section(study: Study) -> list[Block]:
  """Rows of kind "qat". Different settings are never averaged."""
  blocks: list[Block] = [
    Heading("Quantisation-aware training from different starts"),
    Paragraph(_PLAN),
  ]
  parts = by_config(study.records)
  main, first = next(iter(parts.items()))
  for config, records in parts.items():
    own = study.settings.get(config, {})
    if config == main:
      settings = f"Settings: {told(own)}. {run_on(records)} {_MEANING}"
      blocks.append(Paragraph(settings))
    else:
      changed = difference(study.settings.get(main, {}), own)
      blocks.append(Heading(f"The study again, {changed}", 3))
      blocks.append(Paragraph(run_on(records)))
      blocks += _changes(first, records)
    blocks += _part(records, own.get("epochs", 0), config)
  return blocks


def _changes(first: list[Record], own: list[Record]) -> Iterator[Block]:
  """What other settings changed, over the cells that both have."""
  pairs = in_both(first, own)
  above, here = (_groups([pair[i] for pair in pairs]) for i in (0, 1))
  rows = []
  for axes, records in here.items():
    found = (_mean(r, "quint8_accuracy") for r in (above[axes], records))
    rows.append((_name(axes[0]), *axes[1:], str(len(records)), *found))
  if rows:
    yield Paragraph("Percent of the test images over the cells that both have.")
    yield Table(_CHANGED, tuple(rows), text_columns=5)


def _part(records, epochs, config) -> Iterator[Block]:
  yield table(records)
  yield from race(records)
  if beside := beside_tfmot(records, epochs):
    yield Paragraph(
      "Beside TFMOT's default scheme: the same network, start, data and steps"
      " of training for quantisation. Percent of the test images, the first"
      " thousand after one epoch; codes of the training graph that the file"
      " has too; milliseconds of a step include what else the machine did."
    )
    yield beside
  for arch, bits in dict.fromkeys(_axes(r)[:2] for r in records):
    rows = [r for r in records if _axes(r)[:2] == (arch, bits)]
    if any(_is_drawn(r) for r in rows):
      yield Figure(
        f"qat_{config}_{arch}_{bits}",
        f"{_name(arch)}, {bits}: test accuracy against training steps; dotted"
        " while the network is in float. One line per start, method and"
        " quantizer, means over seeds.",
        lambda rows=rows: curves(rows),
      )


def table(records: list[Record]) -> Table:
  """A row per architecture, width, start, method and quantizer."""
  rows: list[tuple[str, ...]] = []
  flagged = set()
  for axes, members in _groups(records).items():
    trained = [r for r in members if r.status == "ok"]
    if not trained:
      flagged.add(len(rows))
    rows.append((_name(axes[0]), *axes[1:], *_numbers(members, trained)))
  steps = (f"Steps to {target:.0f} %" for target in TARGETS)
  return Table(
    (*_HEADERS, *steps), tuple(rows), frozenset(flagged), text_columns=5
  )


def race(records: list[Record]) -> Iterator[Block]:
  """Predicted starts against the best random start of each kind of training,
  where both ran."""
  starts: dict[tuple, dict[str, list[float]]] = {}
  for (arch, bits, start, *how), members in _groups(records).items():
    trained = [r for r in members if r.status == "ok"]
    if any(_is_drawn(r) for r in trained):
      way = (_name(arch), bits, *how)
      starts.setdefault(way, {})[start] = _scores(members, trained)
  rows: list[tuple[str, ...]] = []
  wins: dict[str, list[list[bool]]] = {}
  for way, scores in starts.items():
    predicted = [start for start in scores if start.startswith("ghn")]
    rest = [found for start, found in scores.items() if start not in predicted]
    best = [max(column) for column in zip(*rest, strict=True)]
    for start in predicted if rest else ():
      pairs = list(zip(scores[start], best, strict=True))
      wins.setdefault(start, []).append([mine > it for mine, it in pairs])
      rows.append((*way, start, *(" / ".join(map(_score, p)) for p in pairs)))
  if rows:
    answers = "; ".join(_answer(start, won) for start, won in wins.items())
    yield Paragraph(_ANSWER.format(answers))
    yield Table(_RACE, tuple(rows), text_columns=5)


def beside_tfmot(records: list[Record], epochs: int) -> Table | None:
  """Our training for quantisation beside TFMOT's default, where both ran; None
  without such rows. `epochs` are those of the whole training."""
  groups = _groups(records)
  pairs = {axes[:4] for axes in groups if axes[4] == _TFMOT}
  rows = tuple(
    (_name(axes[0]), *axes[2:], *_training_numbers(members, epochs))
    for axes, members in groups.items()
    if axes[:4] in pairs
  )
  if not rows:
    return None
  return Table(_BESIDE, rows, text_columns=4)


@style.drawing
def curves(records: list[Record]) -> Picture:
  """Accuracy against steps, a panel per kind of training, a line per start."""
  panels: dict[str, dict[tuple[str, str], list]] = {}
  for axes, members in _groups(filter(_is_drawn, records)).items():
    parts = [_mean_curve(_points(r, k) for r in members) for k in _CURVES]
    panels.setdefault(axes[3], {})[axes[2], axes[4]] = parts
  figure = Picture(figsize=(4.6 * len(panels), 4.2), layout="constrained")
  columns = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
  for ax, (method, lines) in zip(columns, panels.items(), strict=True):
    ax.set_title(method)
    ax.set_xlabel("Training steps")
    quantizers = list(dict.fromkeys(quantizer for _, quantizer in lines))
    for (start, quantizer), (in_float, quantised) in lines.items():
      look = style.line(start)
      dashes = _DASHES[quantizers.index(quantizer) % len(_DASHES)]
      label = f"{grid.suffix(start)}, {quantizer}"
      ax.plot(*_columns(in_float), ":", color=look.color, alpha=0.9)
      ax.plot(
        *_columns(quantised),
        linestyle=look.linestyle if len(quantizers) == 1 else dashes,
        color=look.color,
        label=label,
        alpha=0.9,
      )
  columns[0].set_ylabel("Test accuracy (%)")
  known: dict = {}
  for ax in columns:
    handles, labels = ax.get_legend_handles_labels()
    known |= dict(zip(labels, handles, strict=True))
  figure.legend(
    list(known.values()),
    list(known),
    loc="outside lower center",
    ncols=len(columns) + 1,
  )
  return figure


def _is_drawn(record):
  followed = any(_points(record, kind) for kind in _CURVES)
  return followed and record.cell["method"] in _TRAININGS


def _points(record, kind):
  return record.metrics.get(kind) or []


def _columns(points):
  return [p[0] for p in points], [p[1] for p in points]


def steps_to(points, target: float) -> float | None:
  """The first step at which a curve reaches `target`, linear between points;
  None if it never does."""
  if points and points[0][1] >= target:
    return float(points[0][0])
  for (s0, a0), (s1, a1) in itertools.pairwise(points):
    if a1 >= target:
      return s0 + (target - a0) / (a1 - a0) * (s1 - s0)
  return None


def _numbers(members, trained):
  yield _seeds(members, trained)
  yield _mean(trained, "fp32_accuracy")
  yield _mean(trained, "accuracy_before_qat")
  yield _mean(trained, "quint8_accuracy")
  found = _values(trained, "quint8_accuracy")
  yield number(statistics.stdev(found) if len(found) > 1 else None, 2)
  yield _mean(trained, "litert_accuracy")
  yield _mean(trained, "litert_equal_codes", 3)
  yield _mean(trained, "graph_equal_codes", 3)
  yield _mean(trained, "oscillating")
  for target in TARGETS:
    yield _arrivals(members, target)


def _training_numbers(members, epochs):
  trained = [r for r in members if r.status == "ok"]
  yield _seeds(members, trained)
  yield _mean(trained, "accuracy_before_qat")
  early = [_after_one_epoch(r, epochs) for r in trained]
  found = [value for value in early if value is not None]
  yield number(statistics.fmean(found) if found else None, 2)
  yield _mean(trained, "quint8_accuracy")
  yield _mean(trained, "graph_equal_codes")
  seconds = [_seconds_per_step(r, epochs) for r in trained]
  yield number(1e3 * statistics.fmean(seconds) if seconds else None, 1)


def _seeds(members, trained):
  count = str(len(members))
  return count if members == trained else f"{len(trained)} of {count}"


def _after_one_epoch(record, epochs):
  """The curve's point there, if there is one."""
  metrics = record.metrics
  per_epoch = metrics["steps"] // epochs
  first = metrics["steps"] - metrics["epochs"] * per_epoch
  return dict(map(tuple, metrics["curve"])).get(first + per_epoch)


def _seconds_per_step(record, epochs):
  metrics = record.metrics
  steps = metrics["epochs"] * (metrics["steps"] // epochs)
  return metrics["train_seconds"] / steps


def _scores(members, trained):
  """The more the better: minus the steps to each early target, accuracy. A
  seed that diverged never was at a target."""
  means = []
  for target in _EARLY:
    found = _steps(members, target)
    means.append(-math.inf if None in found else -statistics.fmean(found))
  return [*means, statistics.fmean(_values(trained, "quint8_accuracy"))]


def _answer(start, won):
  columns = zip(*won, strict=True)
  wins = [f"{sum(column)} of {len(won)}" for column in columns]
  return _WINS.format(start=start, early=_EARLY, wins=wins)


def _score(value):
  if value == -math.inf:
    return "never"
  return f"{-value:.0f}" if value <= 0 else f"{value:.2f}"


def _kind(members):
  quantised = any(_points(r, "curve") for r in members)
  return "curve" if quantised else "float_curve"


def _steps(members, target):
  return [steps_to(_points(r, _kind(members)), target) for r in members]


def _arrivals(members, target):
  kind, found = _kind(members), _steps(members, target)
  arrived = [steps for steps in found if steps is not None]
  mean = number(statistics.fmean(arrived) if arrived else None, 0)
  lost = len(found) - len(arrived)
  notes = ["float"] * (kind == "float_curve") + [f"{lost} never"] * bool(lost)
  return f"{mean} ({', '.join(notes)})" if notes else mean


def _mean(records, metric, digits=2):
  found = _values(records, metric)
  return number(statistics.fmean(found) if found else None, digits)


def _values(records, metric):
  found = (r.metrics.get(metric) for r in records)
  return [v for v in found if v is not None and math.isfinite(v)]


def _mean_curve(lines):
  """[[step, mean]] over the seeds that have that step."""
  by_step = {}
  for line in lines:
    for step, value in line:
      by_step.setdefault(step, []).append(value)
  return [(s, statistics.fmean(by_step[s])) for s in sorted(by_step)]


def _groups(records):
  """Rows by cell, seeds together, in the order of the axes."""
  found = {}
  for record in sorted(records, key=_axes):
    found.setdefault(_axes(record), []).append(record)
  return found


def _axes(record):
  return tuple(str(record.cell.get(axis, "")) for axis in _AXES)


def _name(arch):
  return ARCHS[arch].row_name if arch in ARCHS else arch
