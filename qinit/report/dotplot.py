"""Accuracy before and after quantisation as one figure."""

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qinit.archs.zoo import ARCHS
from qinit.record import Record
from qinit.report import grid, style
from qinit.report.document import number


@style.drawing
def accuracy(records: Iterable[Record]) -> Figure:
  """FP32 and QUINT8 accuracy of every initialiser, a panel per architecture.

  Means over seeds; with several seeds a thin bar spans their smallest and
  largest value. What diverged is named as such.
  """
  found = [g for g in grid.groups(records) if g.bits == grid.MAIN_BITS]
  archs = list(dict.fromkeys(g.arch for g in found))
  columns = min(2, max(1, len(archs)))
  rows = max(1, math.ceil(len(archs) / columns))
  members = {arch: [g for g in found if g.arch == arch] for arch in archs}
  tallest = max((len(m) for m in members.values()), default=1)
  figure = Figure(
    figsize=(5.6 * columns, rows * (0.26 * tallest + 0.8) + 0.5),
    layout="constrained",
  )
  axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
  for ax in axes.flat[len(archs) :]:
    ax.set_axis_off()
  for ax, arch in zip(axes.flat, archs, strict=False):
    _dumbbells(ax, members[arch])
    ax.set_title(ARCHS[arch].row_name if arch in ARCHS else arch)
    ax.set_xlim(*_accuracy_limits(found))
  for ax in _lowest(axes, len(archs)):
    ax.set_xlabel("Test accuracy (%)")
    ax.tick_params(labelbottom=True)
  figure.legend(handles=_accuracy_key(), loc="outside lower center", ncols=5)
  return figure


def _dumbbells(ax, members):
  for y, group in enumerate(members):
    ends = [group.mean(f"{kind}_accuracy") for kind in ("fp32", "quint8")]
    if not group.trained or None in ends:
      _note(ax, 0.01, y, group.status, "left")
      continue
    ax.plot(ends, [y, y], color=style.PALE, linewidth=3, zorder=1)
    _dot(ax, y - 0.12, group.values("fp32_accuracy"), _FP32)
    _dot(ax, y + 0.12, group.values("quint8_accuracy"), _QUINT8)
    _note(ax, 0.99, y, number(group.mean("accuracy_decrease"), 2), "right")
  ax.set_yticks(range(len(members)), [grid.suffix(g.init) for g in members])
  ax.set_ylim(len(members) - 0.5, -0.5)


def _note(ax, x, y, text, side):
  """Text at the share `x` of the panel's width and the height of row `y`."""
  place = ax.get_yaxis_transform()
  look = {"ha": side, "va": "center", "color": style.GREY, "size": 8}
  ax.text(x, y, text, transform=place, **look)


def _accuracy_limits(groups):
  """Round limits around every value, room for the notes on the right."""
  metrics = ("fp32_accuracy", "quint8_accuracy")
  values = [
    v for g in groups if g.trained for m in metrics for v in g.values(m)
  ]
  if not values:
    return 0, 100
  low = max(0, 10 * math.floor((min(values) - 2) / 10))
  high = min(100, 5 * math.ceil((max(values) + 1) / 5))
  return low, high + 0.12 * (high - low)


def _dot(ax, y, values, look):
  if len(values) > 1:
    ax.hlines(y, min(values), max(values), color=look["color"], linewidth=1)
  ax.plot([np.mean(values)], [y], linestyle="none", **look)


_FP32 = {
  "color": style.BLUE,
  "marker": "o",
  "markerfacecolor": "white",
  "markersize": 6,
}
_QUINT8 = {"color": style.VERMILION, "marker": "D", "markersize": 5}


def _accuracy_key():
  return [
    Line2D([], [], linestyle="none", label="FP32", **_FP32),
    Line2D([], [], linestyle="none", label="QUINT8", **_QUINT8),
    Line2D([], [], color=style.PALE, linewidth=3, label="from one to other"),
    Line2D([], [], color=style.GREY, linewidth=1, label="range over seeds"),
    Line2D([], [], linestyle="none", label="on the right: decrease in %"),
  ]


def _lowest(axes, count):
  """The lowest panel in use of every column."""
  columns = axes.shape[1]
  return [axes.flat[i] for i in range(count) if i + columns >= count]
