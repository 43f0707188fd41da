"""Accuracy against size, every method a point."""

import statistics
from collections.abc import Iterable

from matplotlib.figure import Figure

from qinit.report import style
from qinit.report.gnn_rows import Group

METRICS = {
  "model_bits": "model size",
  "buffer_bits": "buffer size per node",
}
_UNITS = {"model_bits": (8e3, "kB"), "buffer_bits": (8, "B a node")}
# Label, colour and marker by the beginning of a method's name.
_LOOKS = {
  "lpgnas": ("LPGNAS-style search", style.VERMILION, "o"),
  "w4a8_search": ("search at W4A8", style.ORANGE, "s"),
  "random_search": ("random search", style.PURPLE, "D"),
  "float": ("float", style.BLACK, "*"),
  "w8a8": ("W8A8", style.BLUE, "^"),
  "w4a8": ("W4A8", style.SKY, "v"),
  "w4a4": ("W4A4", style.GREEN, "<"),
  "degree_quant": ("Degree-Quant", style.GREY, "P"),
  "mixq": ("MixQ-style", style.GREY, "X"),
}


@style.drawing
def draw(found: Iterable[Group], metric: str) -> Figure:
  """One data set. Filled marks are searched or have power-of-two scales,
  hollow ones bare fixed point; bars span the seeds."""
  figure = Figure(figsize=(7.5, 4.6), layout="constrained")
  ax, labels = figure.subplots(), set()
  by, unit = _UNITS[metric]
  found = [g for g in found if g.trained]
  for group in found:
    label, color, marker = _look(group.method)
    hollow = "_fixed_" in group.method
    values = group.values("test_accuracy")
    x = statistics.fmean(group.values(metric)) / by
    y = statistics.fmean(values)
    ax.vlines(x, min(values), max(values), color=color, linewidth=1)
    ax.plot(
      [x],
      [y],
      linestyle="none",
      marker=marker,
      color=color,
      markersize=8,
      markerfacecolor="white" if hollow else color,
      label=None if label in labels else label,
    )
    labels.add(label)
  _join(ax, [g for g in found if g.method == "lpgnas"], metric, by)
  style.logarithmic(ax.xaxis)
  ax.set_xlabel(f"{METRICS[metric].capitalize()} ({unit})")
  ax.set_ylabel("Test accuracy (%)")
  figure.legend(loc="outside right center", title="hollow: bare fixed point")
  return figure


def _look(method):
  # The longest beginning that fits: w4a8_search before w4a8.
  fits = [name for name in _LOOKS if method.startswith(name)]
  return _LOOKS[max(fits, key=len)] if fits else (method, style.BLACK, "x")


def _join(ax, members, metric, by):
  members = sorted(members, key=lambda g: g.beta)
  points = [
    (g.mean(metric) / by, g.mean("test_accuracy"), g.beta) for g in members
  ]
  ax.plot([p[0] for p in points], [p[1] for p in points], color=style.VERMILION)
  for x, y, beta in points:
    ax.annotate(
      f"{beta:g}",
      (x, y),
      xytext=(6, 6),
      textcoords="offset points",
      color=style.VERMILION,
      fontsize=8,
    )
