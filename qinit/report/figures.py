"""Figures of the initialisation study, in the manner of the paper's Figs. 3
to 6: pure functions of rows that return matplotlib figures."""

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qinit.quant.scheme import parse_width
from qinit.report import grid, style
from qinit.stats.distribution import Distributions
from qinit.stats.layerwise import KINDS, LayerRow, of_kind

# Drawn per panel row: attribute, axis label, whether the axis is logarithmic.
QUANTITIES = (
  ("range", "Range", True),
  ("average_precision", "Average channel precision", False),
  ("kl", "KL of the output (nats)\nwith this layer alone quantised", True),
)
# Less is the rounding of the measurement itself: of the input, which is exact.
_LEAST = 1e-9
_KIND_TITLES = {
  "weight": "Weights (BatchNorm folded)",
  "activation": "Activations",
}


@style.drawing
def layerwise(
  runs: dict[str, list[LayerRow]],
  title: str,
  highlighted: Iterable[str] | None = None,
) -> Figure:
  """Range, average precision and what quantising the layer alone costs, by
  layer, weights left and activations right, the runs overlaid (Figs. 3 to 5).

  Args:
    runs: layerwise rows by initialiser.
    title: of the whole figure.
    highlighted: the initialisers to draw in colour; the others turn grey.
      All by default.
  """
  bright = set(runs if highlighted is None else highlighted)
  figure = Figure(figsize=(11, 10.5), layout="constrained")
  axes = figure.subplots(len(QUANTITIES), 2, sharex="col", sharey="row")
  for row, (attribute, label, logarithmic) in enumerate(QUANTITIES):
    axes[row, 0].set_ylabel(label)
    for column, kind in enumerate(KINDS):
      ax = axes[row, column]
      for init, rows in sorted(runs.items(), key=lambda r: r[0] in bright):
        look = _look(init) if init in bright else _faint()
        _plot(ax, of_kind(rows, kind), attribute, logarithmic, **look)
      if logarithmic:
        ax.set_yscale("log")
  for ax, kind in zip(axes[0], KINDS, strict=True):
    ax.set_title(_KIND_TITLES[kind])
  for ax, kind in zip(axes[-1], KINDS, strict=True):
    _name_layers(ax, next(iter(runs.values()), []), kind)
  _bound_precision(axes[1, 0])
  figure.suptitle(title, fontweight="bold")
  _legend_below(figure, [i for i in runs if i in bright], len(runs))
  return figure


@style.drawing
def range_and_precision(rows: list[LayerRow], title: str) -> Figure:
  """Range and average precision of one run in one plot, weights above and
  activations below (Fig. 6)."""
  figure = Figure(figsize=(9, 8), layout="constrained")
  for ax, kind in zip(figure.subplots(2, 1), KINDS, strict=True):
    right = ax.twinx()
    right.spines["right"].set_visible(True)
    right.grid(False)
    mine = of_kind(rows, kind)
    _plot(ax, mine, "range", True, color=style.BLUE, marker="o")
    _plot(
      right,
      mine,
      "average_precision",
      False,
      color=style.VERMILION,
      marker="s",
      linestyle="--",
    )
    ax.set_yscale("log")
    _bound_precision(right)
    _own(ax, "Range (solid)", style.BLUE)
    _own(right, "Average precision (dashed)", style.VERMILION)
    ax.set_title(_KIND_TITLES[kind])
    _name_layers(ax, rows, kind)
  figure.suptitle(title, fontweight="bold")
  return figure


@style.drawing
def distributions(
  found: Distributions, title: str, bits: str = grid.MAIN_BITS
) -> Figure:
  """Where in the quantiser's range the values of each layer lie.

  One strip per layer, from code 0 to the largest; its width goes with the
  square root of the share of values, so that tails stay visible, and the
  widest bin is cut to the width of the next. A black line marks the value 0.

  Args:
    bits: the width, "w4a8", say.
  """
  scheme = parse_width(bits)
  widths = {"weight": scheme.weight_bits, "activation": scheme.activation_bits}
  figure = Figure(figsize=(11, 8), layout="constrained")
  for ax, kind in zip(figure.subplots(2, 1), KINDS, strict=True):
    color = style.BLUE if kind == "weight" else style.ORANGE
    top = 2 ** widths[kind] - 1
    names = [name for k, name in found if k == kind]
    for x, name in enumerate(names):
      _strip(ax, x, found[kind, name], top, color)
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=7.5)
    ax.set_xlim(-0.7, max(len(names), 1) - 0.3)
    ax.set_ylabel(f"Code (0 to {top})")
    ax.set_title(_KIND_TITLES[kind])
    ax.grid(False, axis="x")
  figure.suptitle(title, fontweight="bold")
  return figure


def _plot(ax, rows, attribute, logarithmic, **look):
  values = [getattr(r, attribute) for r in rows]
  usable = [v if _drawable(v, logarithmic) else math.nan for v in values]
  ax.plot([r.layer for r in rows], usable, **look)


def _drawable(value, logarithmic):
  return math.isfinite(value) and (value > _LEAST or not logarithmic)


def _look(init):
  line = style.line(init)
  return {
    "color": line.color,
    "linestyle": line.linestyle,
    "marker": line.marker,
    "label": grid.suffix(init),
  }


def _faint():
  return {"color": style.PALE, "linewidth": 1.0, "zorder": 1}


def _name_layers(ax, rows, kind):
  rows = of_kind(rows, kind)
  ax.set_xticks(
    [r.layer for r in rows], [r.name for r in rows], rotation=90, fontsize=7.5
  )
  ax.set_xlabel("Layer, from input to output")


def _bound_precision(ax):
  ax.set_ylim(0, 1.03)


def _own(ax, label, color):
  ax.set_ylabel(label, color=color)
  ax.tick_params(axis="y", colors=color)


def _legend_below(figure, bright, total):
  handles = [Line2D([], [], **_look(init)) for init in bright]
  if total > len(bright):
    faint = _faint() | {"label": f"{total - len(bright)} others"}
    handles.append(Line2D([], [], **faint))
  style.legend_below(figure, handles)


def _strip(ax, x, histogram, top, color):
  # The widest bin, that of 0 after a ReLU, would reduce all others to a line.
  widths = np.sqrt(histogram.counts)
  widths = 0.42 * np.minimum(widths / (np.sort(widths)[-2] or 1), 1)
  # Steps rather than a smooth outline: a bin is a bin.
  codes = np.linspace(0, top, len(widths) + 1)
  widths = np.append(widths, widths[-1:])
  ax.fill_betweenx(
    codes, x - widths, x + widths, step="post", color=color, linewidth=0
  )
  lo, hi = histogram.edges[0], histogram.edges[-1]
  if lo <= 0 <= hi and hi > lo:
    zero = -lo / (hi - lo) * top
    ax.hlines(zero, x - 0.45, x + 0.45, color=style.BLACK, linewidth=1.2)
