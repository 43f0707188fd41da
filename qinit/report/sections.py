"""The sections of a report: from the rows of one kind to blocks."""

import statistics
from collections.abc import Callable, Iterator

from qinit.archs.zoo import ARCHS
from qinit.report import (
  dotplot,
  figures,
  ghn,
  grid,
  lpgnas,
  lpgnas_ghn,
  qat,
  tables,
)
from qinit.report.claims import NOT_TESTABLE
from qinit.report.departures import CHOICES, departures
from qinit.report.document import (
  MISSING,
  Block,
  Bullets,
  Figure,
  Heading,
  Paragraph,
  Table,
  number,
)
from qinit.report.evidence import Evidence
from qinit.report.findings import findings_table
from qinit.report.grid import Group
from qinit.report.sources import Study, by_config, difference, in_both, place

# The paper's Fig. 6.
_FIGURE_6 = ("mbnetv2_bn", "he_uniform")
# More lines than this cannot be followed through one plot.
_MOST_COLOURS = 6


def init_study(study: Study) -> list[Block]:
  """The random-initialisation study. Rows of different settings are never
  averaged: each set has its own part, the largest first, to which the
  layerwise files belong; the others are named by what differs from it."""
  blocks: list[Block] = [Heading("Random-initialisation study")]
  parts = by_config(study.records)
  main = next(iter(parts))
  first = study.settings.get(main, {})
  for i, (config, records) in enumerate(parts.items()):
    own = study.settings.get(config, {})
    if i:
      blocks.append(Heading(f"The study again, {difference(first, own)}", 3))
      blocks += _beside(parts[main], records)
    part = Study(
      records=tuple(records),
      settings=study.settings,
      layers={} if i else study.layers,
      distributions={} if i else study.distributions,
    )
    prefix = f"init_study_{config}" if i else "init_study"
    choices = ("For the rest, as above.",) if i else CHOICES
    blocks += _part(part, own, prefix, choices)
  return blocks


# Other kinds add their rows here: the kind, and what makes blocks of it.
SECTIONS: tuple[tuple[str, Callable[[Study], list[Block]]], ...] = (
  ("init_study", init_study),
  ("qat", qat.section),
  ("ghn_train", ghn.training),
  ("ghn_eval", ghn.evaluation),
  ("lpgnas", lpgnas.section),
  ("lpgnas_ghn", lpgnas_ghn.section),
)


def _beside(first, own):
  """What the other settings changed, over the cells that both have."""
  pairs = in_both(first, own)
  if not pairs:
    return

  def median(metric, i):
    return number(_median([abs(pair[i].metrics[metric]) for pair in pairs]), 4)

  yield Paragraph(
    f"Over the {len(pairs)} cells that both have: the median QMSE is"
    f" {median('qmse', 1)} here and {median('qmse', 0)} above, the"
    " median size of the percent accuracy decrease"
    f" {median('accuracy_decrease', 1)} here and"
    f" {median('accuracy_decrease', 0)} above."
  )


def _part(study, settings, prefix, choices):
  yield from _accuracy(study, prefix)
  if study.layers:
    yield Heading("Layer by layer", 3)
    yield from _layerwise(study, grid.groups(study.records), prefix)
  yield from _findings(study)
  yield Heading("How it was run", 3)
  yield _facts(study, settings)
  yield Heading("Departures from the paper, and choices where it is silent", 3)
  yield Bullets((*departures(settings), *choices))


def _accuracy(study, prefix):
  yield Heading("Accuracy before and after quantisation", 3)
  yield Paragraph(
    "Accuracies are in percent of the whole test set, means over the seeds"
    " that trained. Rows in italics have no seed that trained. Equal codes are"
    " those of the exported file and the simulation; beside them, how many of"
    " the simulation's codes the float fake-quant graph and, on a thousand"
    " images, LiteRT's reference kernels give."
  )
  yield tables.summary_table(study.records)
  yield Figure(
    f"{prefix}_accuracy",
    "Test accuracy before and after quantisation to 8 bits; the number on the"
    " right is the percent accuracy decrease.",
    lambda: dotplot.accuracy(study.records),
  )
  yield tables.study_table(study.records)
  yield from _divergences(grid.groups(study.records))


def _findings(study):
  """Nothing for a run too small to say anything about any of them."""
  table = findings_table(Evidence(study.records, study.layers))
  if any(row[2] != NOT_TESTABLE for row in table.rows):
    yield Heading("The paper's findings", 3)
    yield table


def _facts(study, settings):
  """The settings, then where and how long."""
  records = study.records
  minutes = _minutes_by_cell(records)
  rows = [(name.replace("_", " "), str(v)) for name, v in settings.items()]
  rows += [
    ("cells", str(len(minutes))),
    ("seeds", _distinct(r.cell.get("seed") for r in records)),
    ("epochs trained", _distinct(r.metrics.get("epochs") for r in records)),
    ("minutes a cell, median", number(_median(minutes.values()), 1)),
    ("hours in all", number(sum(minutes.values()) / 60, 1)),
    ("hardware", _distinct(place(r.env) for r in records)),
    ("versions", _distinct(_versions(r.env) for r in records)),
    ("commit", _distinct(r.env.get("commit") for r in records)),
  ]
  return Table(("Setting", "Value"), tuple(rows), text_columns=2)


def _minutes_by_cell(records):
  """A training is one cell, however many widths it was quantised to: the row
  of its last width has the whole time."""
  minutes = {}
  for r in records:
    cell = tuple(r.cell.get(axis) for axis in ("arch", "init", "seed"))
    taken = r.env.get("seconds", 0.0) / 60
    minutes[cell] = max(minutes.get(cell, 0.0), taken)
  return minutes


def _median(values):
  return statistics.median(values) if values else None


def _distinct(values):
  found = {v for v in values if v is not None}
  numbers = all(isinstance(v, int | float) for v in found)
  ordered = sorted(found) if numbers else sorted(found, key=str)
  return "; ".join(str(v) for v in ordered) or MISSING


def _versions(env):
  versions = env.get("versions") or {}
  return ", ".join(f"{k} {v}" for k, v in sorted(versions.items())) or None


def _divergences(groups: list[Group]) -> Iterator[Block]:
  lost = [g for g in groups if g.status != "ok"]
  if lost:
    yield Heading("Divergences", 3)
    yield Paragraph(
      "A cell ends early when its loss is no longer finite or its accuracy"
      " stays at chance."
    )
    yield Bullets(tuple(f"{g.name} ({g.bits}): {_how(g)}" for g in lost))


def _how(group):
  """How the seeds of a group were lost."""
  if group.status != "diverged":
    return group.status
  exploded = sum("train_loss" not in r.metrics for r in group.records)
  if not exploded:
    return "its accuracy stays at chance"
  return "its loss is not finite" + (
    "" if exploded == len(group.records) else f" ({exploded} of the seeds)"
  )


def _layerwise(study, groups, prefix):
  yield Paragraph(
    "Weights are per tensor after folding of BatchNorm, activations per tensor"
    " after clipping. Average channel precision is the mean over channels of"
    " the channel's range over the tensor's. The initialisers that lose most"
    " and least, and GlorotUni, are in colour."
  )
  worst = dict.fromkeys([_FIGURE_6])
  for arch in dict.fromkeys(g.arch for g in groups):
    runs = _first_runs(study, arch)
    if runs:
      ranked = _by_decrease(groups, arch, runs)
      worst |= dict.fromkeys((arch, init) for init in ranked[-1:])
      yield _overlay(arch, runs, _notable(ranked), prefix)
  for arch, init in worst:
    yield from _one_cell(study, arch, init, prefix)
  yield Heading("Where most was lost", 3)
  yield Paragraph(
    "The tensors whose quantisation alone moves the network's output furthest:"
    " the KL divergence from the float output in nats, and the points of"
    " accuracy that it costs, on the first thousand test images. A point is"
    " ten of them: only larger losses say something."
  )
  ordered = sorted(study.layers, key=grid.cell_order)
  archs = dict.fromkeys(cell[0] for cell in ordered)
  yield tables.weakest_layer_table(
    {arch: _first_runs(study, arch) for arch in archs}
  )


def _first_runs(study: Study, arch: str) -> dict:
  """Layerwise rows by initialiser, of the smallest seed there is."""
  cells = sorted((c for c in study.layers if c[0] == arch), key=grid.cell_order)
  runs: dict[str, list] = {}
  for cell in cells:
    runs.setdefault(cell[1], study.layers[cell])
  return runs


def _by_decrease(groups, arch, runs):
  """The initialisers at 8 bits that have layerwise rows, best first."""
  losses = {
    g.init: g.mean("accuracy_decrease")
    for g in groups
    if (g.arch, g.bits) == (arch, grid.MAIN_BITS) and g.init in runs
  }
  return sorted((i for i, v in losses.items() if v is not None), key=losses.get)


def _notable(ranked):
  if len(ranked) <= _MOST_COLOURS:
    return ranked or None
  chosen = {*ranked[:2], *ranked[-2:], "glorot_uniform"}
  return [init for init in ranked if init in chosen]


def _overlay(arch, runs, bright, prefix):
  name = ARCHS[arch].row_name if arch in ARCHS else arch
  return Figure(
    f"{prefix}_{arch}_layers",
    f"{name}: range, average channel precision and the cost of quantising the"
    " layer alone.",
    lambda: figures.layerwise(runs, name, bright),
  )


def _one_cell(study, arch, init, prefix):
  rows = _first_runs(study, arch).get(init)
  if not rows:
    return
  name = grid.row_name(arch, init)
  yield Figure(
    f"{prefix}_{arch}_{init}_range_and_precision",
    f"{name}: range and average channel precision in one plot.",
    lambda: figures.range_and_precision(rows, name),
  )
  cells = sorted(c for c in study.distributions if c[:2] == (arch, init))
  if cells:
    yield Figure(
      f"{prefix}_{arch}_{init}_distributions",
      f"{name}: where in the quantiser's range the values lie. The width of a"
      " strip is the square root of the share of values; a black line marks 0,"
      " whose bin is cut to the width of the next widest.",
      lambda: figures.distributions(study.distributions[cells[0]], name),
    )
