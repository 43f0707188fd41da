"""The section on the precision of hypernetworks themselves."""

import statistics
from collections.abc import Iterable, Iterator

from matplotlib.figure import Figure as Drawing

from qinit.lpgnas.formats import parse
from qinit.record import Record
from qinit.report import style
from qinit.report.document import (
  MISSING,
  Block,
  Figure,
  Heading,
  Paragraph,
  Table,
  number,
)
from qinit.report.ghn_means import points_and_ratio, standard_error
from qinit.report.sources import by_config, difference, run_on, told

_HEADERS = (
  "Method",
  "Beta",
  "Seed",
  "Before (%)",
  "After (%)",
  "Difference",
  "Against float in as many steps",
  "Model (kB)",
  "Share of the float bits (%)",
  "Mean W bits",
  "Mean A bits",
  "Status",
)
_LOOKS = {
  "lpgnas": ("search", style.VERMILION, "o"),
  "float": ("float, as it is", style.BLACK, "*"),
  "float_trained": ("float, trained on", style.GREY, "*"),
}
_UNIFORM = ("one precision", style.BLUE, "^")


def section(study) -> list[Block]:
  """Blocks of all rows of the kind "lpgnas_ghn"."""
  blocks: list[Block] = [
    Heading("The precision of hypernetworks themselves"),
    Paragraph(
      "Every matrix of a hypernetwork's weights and every kind of vector that"
      " it stores has a format of its own, searched by back-propagation as in"
      " LPGNAS while the weights learn; then the weights are trained in the"
      " likeliest precision, written as codes and read back. Accuracies are"
      " those of unseen networks with predicted parameters, in float, on"
      " CIFAR-10: mean ± standard error over networks; differences are paired,"
      " network by network. Methods other than float train for as many steps;"
      " biases and LayerNorm count with 32 bits."
    ),
  ]
  for ghn in dict.fromkeys(r.cell["ghn"] for r in study.records):
    parts = by_config(r for r in study.records if r.cell["ghn"] == ghn)
    first = study.settings.get(next(iter(parts)), {})
    for i, (config, found) in enumerate(parts.items()):
      own = study.settings.get(config, {})
      blocks.append(
        Heading(f"{ghn}, {difference(first, own)}" if i else ghn, 3)
      )
      settings = f"Settings: {told(own) or 'unknown'}. {run_on(found)}"
      blocks.append(Paragraph(settings))
      blocks += _hypernetwork(ghn, found, f"_{config}" if i else "")
  return blocks


def table(records: Iterable[Record]) -> Table:
  """A row for each record of one hypernetwork."""
  found = ordered(records)
  return Table(
    _HEADERS,
    tuple(_row(r, found) for r in found),
    frozenset(i for i, r in enumerate(found) if r.status != "ok"),
  )


def widths(records: Iterable[Record]) -> Table:
  """Bits of every component, a column for each search."""
  searched = [r for r in ordered(records) if _is_search(r)]
  names = list(searched[0].metrics["precision"])
  return Table(
    (
      "Component",
      *(f"beta {r.cell['beta']:g}, seed {r.cell['seed']}" for r in searched),
    ),
    tuple(
      (
        name,
        *(str(parse(r.metrics["precision"][name]).bits) for r in searched),
      )
      for name in names
    ),
  )


def ordered(records: Iterable[Record]) -> list[Record]:
  """Float first, then the searches by beta, then the others; of two rows of
  the same cell the later counts."""
  last = {tuple(sorted(r.cell.items(), key=str)): r for r in records}
  ranks = {"float": 0, "float_trained": 1, "lpgnas": 2}

  def rank(record):
    cell = record.cell
    method, beta = cell["method"], cell["beta"] or 0.0
    return ranks.get(method, len(ranks)), beta, method, cell["seed"]

  return sorted(last.values(), key=rank)


@style.drawing
def draw(records: Iterable[Record]) -> Drawing:
  """Accuracy against the size of the model; bars are standard errors over
  networks, numbers the searches' betas."""
  figure = Drawing(figsize=(6.4, 4.2), layout="constrained")
  ax, labels = figure.subplots(), set()
  for record in ordered(records):
    if record.status == "ok":
      label, color, marker = _LOOKS.get(record.cell["method"], _UNIFORM)
      new = None if label in labels else label
      _mark(ax, record, color=color, marker=marker, label=new)
      labels.add(label)
  style.logarithmic(ax.xaxis)
  ax.set_xlabel("Hypernetwork (kB)")
  ax.set_ylabel("Accuracy of predicted networks (%)")
  figure.legend(loc="outside lower center", ncols=4)
  return figure


def _hypernetwork(name, records, suffix) -> Iterator[Block]:
  yield table(records)
  yield Figure(
    f"lpgnas_ghn_{name}{suffix}_size",
    f"{name}: accuracy of the networks that it predicts against its own size;"
    " numbers are betas, bars standard errors over networks.",
    lambda: draw(records),
  )
  if any(map(_is_search, records)):
    yield Paragraph("Bits of each component, as the searches chose them.")
    yield widths(records)


def _row(record, found):
  cell, metrics = record.cell, record.metrics
  float_row, trained = (
    _first(found, method) for method in ("float", "float_trained")
  )
  return (
    cell["method"],
    MISSING if cell["beta"] is None else f"{cell['beta']:g}",
    str(cell["seed"]),
    _mean(float_row),
    _mean(record),
    _difference(record, float_row),
    _difference(record, trained),
    number(_scaled(metrics.get("model_bits"), 8e3), 1),
    number(_share(record, float_row), 1),
    number(metrics.get("mean_weight_bits"), 2),
    number(metrics.get("mean_vector_bits"), 2),
    record.status,
  )


def _first(found, method):
  rows = (r for r in found if r.cell["method"] == method and r.status == "ok")
  return next(rows, None)


def _mean(record):
  if record is None or record.status != "ok":
    return MISSING
  values = record.metrics["accuracies"]
  return f"{statistics.fmean(values):.2f} ± {standard_error(values):.2f}"


def _difference(record, base):
  """The mean difference over networks, and its standard error, that of a
  sample."""
  if record.status != "ok" or base is None or record is base:
    return MISSING
  pairs = zip(
    record.metrics["accuracies"], base.metrics["accuracies"], strict=True
  )
  points = [mine - theirs for mine, theirs in pairs]
  if len(points) < 2:
    return f"{points[0]:+.2f}"
  return points_and_ratio(points)[0]


def _share(record, base):
  if record.status != "ok" or base is None:
    return None
  return 100 * record.metrics["model_bits"] / base.metrics["model_bits"]


def _mark(ax, record, **look):
  metrics, beta = record.metrics, record.cell["beta"]
  x, values = metrics["model_bits"] / 8e3, metrics["accuracies"]
  y, error = statistics.fmean(values), standard_error(values)
  ax.errorbar([x], [y], [error], linestyle="none", markersize=7, **look)
  if beta is not None:
    place = {"xytext": (6, 6), "textcoords": "offset points", "fontsize": 8}
    ax.annotate(f"{beta:g}", (x, y), color=look["color"], **place)


def _is_search(record):
  return record.cell["method"] == "lpgnas" and record.status == "ok"


def _scaled(value, by):
  return None if value is None else value / by
