"""The section on quantisation-aware training: start x method."""

from collections.abc import Iterator

from qinit.record import Record
from qinit.report.document import (
  Block,
  Figure,
  Heading,
  Paragraph,
  Table,
  number,
)
from qinit.report.qat_figures import curves
from qinit.report.qat_race import race
from qinit.report.qat_rows import Group, groups, mean, points
from qinit.report.sources import (
  Study,
  by_config,
  difference,
  in_both,
  run_on,
  told,
)

# A curve counts as having arrived at these percent of test accuracy.
_TARGETS = (20.0, 30.0, 50.0)
_TFMOT = "tfmot_default"  # the quantizer that is TFMOT's own scheme
_AXES = ("Network", "Bits", "Start", "Method", "Quantizer", "Seeds")
_HEADERS = (
  *_AXES,
  "Float",
  "Before QAT",
  "Quantised",
  "SD",
  "LiteRT",
  "Equal codes (%)",
  "Graph's codes (%)",
  "Oscillating (%)",
  *(f"Steps to {target:.0f} %" for target in _TARGETS),
)
_CHANGED = (*_AXES, "Quantised, above", "Quantised, here")
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
    blocks += _part(records, own.get("epochs", 0), config, config == main)
  return blocks


def _changes(first: list[Record], own: list[Record]) -> Iterator[Block]:
  """What other settings changed, over the cells that both have."""
  pairs = in_both(first, own)
  above, here = (groups(pair[i] for pair in pairs) for i in (0, 1))
  rows = []
  for one, other in zip(above, here, strict=True):
    found = (_mean(group, "quint8_accuracy") for group in (one, other))
    rows.append((*other.names, other.seeds, *found))
  if rows:
    yield Paragraph("Percent of the test images over the cells that both have.")
    yield Table(_CHANGED, tuple(rows), text_columns=5)


def _part(records, epochs, config, headline) -> Iterator[Block]:
  yield table(records)
  yield from race(records, headline)
  if beside := beside_tfmot(records, epochs):
    yield Paragraph(
      "Beside TFMOT's default scheme: the same network, start, data and steps"
      " of training for quantisation. Percent of the test images, the first"
      " thousand after one epoch; codes of the training graph that the file"
      " has too; milliseconds of a step include what else the machine did."
    )
    yield beside
  panels: dict[tuple[str, str], list[Group]] = {}
  for group in groups(records):
    panels.setdefault((group.network, group.bits), []).append(group)
  for (network, bits), members in panels.items():
    if any(group.is_drawn for group in members):
      yield Figure(
        f"qat_{config}_{members[0].arch}_{bits}",
        f"{network}, {bits}: test accuracy against training steps; dotted"
        " while the network is in float. One line per start, method and"
        " quantizer, means over seeds.",
        lambda rows=[r for g in members for r in g.records]: curves(rows),
      )


def table(records: list[Record]) -> Table:
  """A row per network, width, start, method and quantizer."""
  found = groups(records)
  flagged = frozenset(i for i, g in enumerate(found) if not g.trained)
  rows = tuple((*group.names, *_numbers(group)) for group in found)
  return Table(_HEADERS, rows, flagged, text_columns=5)


def beside_tfmot(records: list[Record], epochs: int) -> Table | None:
  """Our training for quantisation beside TFMOT's default, where both ran; None
  without such rows. `epochs` are those of the whole training."""
  found = groups(records)
  pairs = {group.names[:4] for group in found if group.quantizer == _TFMOT}
  rows = tuple(
    (group.network, *group.names[2:], *_training_numbers(group, epochs))
    for group in found
    if group.names[:4] in pairs
  )
  return Table(_BESIDE, rows, text_columns=4) if rows else None


def _numbers(group):
  yield group.seeds
  yield _mean(group, "fp32_accuracy")
  yield _mean(group, "accuracy_before_qat")
  yield _mean(group, "quint8_accuracy")
  yield number(group.sd("quint8_accuracy"), 2)
  yield _mean(group, "litert_accuracy")
  yield _mean(group, "litert_equal_codes", 3)
  yield _mean(group, "graph_equal_codes", 3)
  yield _mean(group, "oscillating")
  for target in _TARGETS:
    yield _arrivals(group, target)


def _training_numbers(group, epochs):
  yield group.seeds
  yield _mean(group, "accuracy_before_qat")
  early = (_after_one_epoch(r, epochs) for r in group.trained)
  yield number(mean([value for value in early if value is not None]), 2)
  yield _mean(group, "quint8_accuracy")
  yield _mean(group, "graph_equal_codes")
  milliseconds = [1e3 * _seconds_per_step(r, epochs) for r in group.trained]
  yield number(mean(milliseconds), 1)


def _after_one_epoch(record, epochs):
  """The curve's point there, if there is one."""
  metrics = record.metrics
  per_epoch = metrics["steps"] // epochs
  first = metrics["steps"] - metrics["epochs"] * per_epoch
  return dict(map(tuple, points(record, "curve"))).get(first + per_epoch)


def _seconds_per_step(record, epochs):
  metrics = record.metrics
  steps = metrics["epochs"] * (metrics["steps"] // epochs)
  return metrics["train_seconds"] / steps


def _arrivals(group, target):
  found = group.arrivals(target)
  arrived = [steps for steps in found if steps is not None]
  lost = len(found) - len(arrived)
  in_float = group.stage == "float_curve"
  notes = ["float"] * in_float + [f"{lost} never"] * bool(lost)
  words = number(mean(arrived), 0)
  return f"{words} ({', '.join(notes)})" if notes else words


def _mean(group, metric, digits=2):
  return number(group.mean(metric), digits)
