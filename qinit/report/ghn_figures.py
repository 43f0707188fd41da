"""Figures of the hypernetworks: pure functions of rows."""

import math
import statistics

import numpy as np
from matplotlib.figure import Figure

from qinit.report import style
from qinit.report.ghn_cells import (
  SPLITS,
  by_cell,
  clip_name,
  width_name,
  width_order,
)
from qinit.report.ghn_means import CHANCE, ONE_ANSWER, standard_error

_COLORS = (
  style.BLUE,
  style.VERMILION,
  style.GREEN,
  style.ORANGE,
  style.PURPLE,
  style.SKY,
  style.BLACK,
  style.GREY,
  style.WINE,
  style.OLIVE,
  style.INDIGO,
  style.BROWN,
)
_MARKERS = "os^Dv<>"  # with colours, 84 pairs
_DOT = {"marker": "o", "s": 12, "alpha": 0.5, "linewidths": 0}
_CROSS = {"marker": "x", "s": 24, "linewidths": 0.8, "zorder": 3}  # on top
_TICKS = 35  # names that fit beside each other, turned upright
_SHORT = 10  # curves of less than a tenth of the longest are not drawn


@style.drawing
def accuracy_by_width(records) -> Figure:
  """Mean accuracy with its standard error, by width, a panel per split, two
  beside each other, and a line per hypernetwork, broken where weights are
  clipped."""
  found = by_cell(records)
  splits = [s for s in SPLITS if any(key[3] == s for key in found)]
  widths = sorted({key[1] for key in found}, key=width_order)
  names = list(dict.fromkeys(key[0] for key in found))
  lines = dict.fromkeys((key[0], key[2]) for key in found)
  figure, axes = _panels(len(splits), 2, max(3.1, 0.65 * len(widths)))
  for ax, split in zip(axes, splits, strict=True):
    for ghn, clip in lines:
      _line(ax, found, widths, ghn, clip, split, names)
    for chance in _chances(found, split):
      ax.axhline(chance, color=style.GREY, linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(widths)), _ticks(widths))
    ax.set_xlim(-0.6, len(widths) - 0.4)
    ax.set_title(SPLITS[split])
  for ax in axes[::2]:
    ax.set_ylabel("Top-1 accuracy (%)")
  style.legend_below(figure)
  return figure


@style.drawing
def quantised_against_float(records, ghn: str) -> Figure:
  """Each network's accuracy, quantised against float: a panel per width, three
  beside each other, a colour per split, crosses where weights are clipped; the
  axes begin at chance."""
  found = {k: v for k, v in by_cell(records).items() if k[0] == ghn}
  widths = sorted({k[1] for k in found} - {"float"}, key=width_order)
  figure, axes = _panels(max(len(widths), 1), 3, 3.2, sharex=True)
  for ax, width in zip(axes, widths, strict=False):
    for color, split in zip(_COLORS, SPLITS, strict=False):
      _cloud(ax, found, ghn, width, split, color)
    ax.axline(
      (CHANCE, CHANCE), slope=1, color=style.GREY, linewidth=0.8, linestyle="--"
    )
    ax.set_title(width_name(width))
    ax.set_xlabel("Float accuracy (%)")
    ax.tick_params(labelbottom=True)  # sharing an axis hides it above the last
  for ax in axes[::3]:
    ax.set_ylabel("Quantised accuracy (%)")
  style.legend_below(figure)
  figure.suptitle(ghn, fontweight="bold")
  return figure


@style.drawing
def predicted_weights(layers: list[list], title: str) -> Figure:
  """The distributions of a network's predicted kernels, layer by layer: the
  median in its quartiles, the 1st and 99th percentile, and the range. Of many
  layers one in several is named."""
  figure = Figure(figsize=(11, 4.2), layout="constrained")
  ax = figure.subplots()
  values = np.array([row[1:] for row in layers], float)
  x = np.arange(len(values))
  bands = ((0, 6, style.PALE, "range"), (1, 5, style.SKY, "1 % to 99 %"))
  for lo, hi, color, label in (*bands, (2, 4, style.BLUE, "quartiles")):
    ax.vlines(x, values[:, lo], values[:, hi], color, linewidth=4, label=label)
  ax.plot(x, values[:, 3], "o", color=style.BLACK, markersize=2, label="median")
  ax.set_yscale("symlog", linthresh=0.1)
  every = math.ceil(len(x) / _TICKS)
  names = [row[0].rsplit("/", 1)[0] for row in layers]
  ax.set_xticks(x[::every], names[::every])
  ax.tick_params(axis="x", rotation=90, labelsize=7)
  if every > 1:
    ax.set_xlabel(f"One kernel in {every} is named")
  ax.set_ylabel("Predicted weights")
  ax.set_title(title, loc="left")
  ax.margins(x=0.01)
  ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
  return figure


@style.drawing
def learning_curves(records) -> Figure:
  """Loss and accuracy of the trainings by step, but of those too short to be
  seen beside the longest."""
  longest = max(record.metrics["steps"] for record in records)
  records = [r for r in records if r.metrics["steps"] >= longest / _SHORT]
  figure = Figure(figsize=(11, 4), layout="constrained")
  axes = figure.subplots(1, 2)
  for i, record in enumerate(records):
    curve = np.array(record.metrics["curve"])
    for ax, column in zip(axes, (1, 2), strict=True):
      ax.plot(
        curve[:, 0],
        _smooth(curve[:, column]),
        color=_COLORS[i % len(_COLORS)],
        label=training_name(record),
        **_dashes(record, i),
      )
  for ax, label in zip(
    axes, ("Training loss", "Training accuracy (%)"), strict=True
  ):
    ax.set_xlabel("Step")
    ax.set_ylabel(label)
  style.logarithmic(axes[0].yaxis)  # a single network's loss may be large
  style.legend_below(figure)
  return figure


def _dashes(record, i):
  """Of the i-th curve. In float on top, where W8/A8 would hide it."""
  if record.cell["bits"] == "float":
    return {"linestyle": "--", "zorder": 3}
  return {"linestyle": "-" if i < len(_COLORS) else ":"}


def training_name(record) -> str:
  """A training in a few words."""
  cell = record.cell
  words = [width_name(b) for b in cell["bits"].split(",")]
  parts = [", ".join(words) if len(words) <= 3 else f"{len(words)} widths"]
  if cell["bits"] != "float":
    parts.append(cell["quantizer"])
  if cell["weight_clip"] != "absolute":
    parts.append(cell["weight_clip"])
  parts += [
    f"{option.replace('_', ' ')} {cell[option]:g}"
    for option in ("damping", "norm_penalty")
    if cell.get(option)
  ]
  if cell["split"] != "train":
    parts.append("BN-free")
  return " ".join(parts) + f" from {cell['init_ghn']}"


def _panels(count, columns, width, **shared):
  """A figure and its panels of so many inches, row by row."""
  rows, columns = math.ceil(count / columns), min(columns, count)
  figure = Figure(
    figsize=(width * columns + 0.6, 3.1 * rows + 0.8), layout="constrained"
  )
  grid = figure.subplots(rows, columns, sharey=True, squeeze=False, **shared)
  for ax in grid.flat[count:]:
    ax.remove()
  return figure, grid.flat[:count]


def _chances(found, split):
  """What one answer reaches on the images of a split, in percent."""
  images = {
    m["images"]
    for key, metrics in found.items()
    if key[3] == split
    for m in metrics.values()
  }
  return sorted({ONE_ANSWER.get(count, CHANCE) for count in images})


def _ticks(widths):
  """ "W2/A2 noise" in two lines."""
  return [width_name(bits).replace(" ", "\n") for bits in widths]


def _line(ax, found, widths, ghn, clip, split, names):
  """A line through the widths; points beside it for what is none of them."""
  i = names.index(ghn)
  points = [
    (x, bits, [m["accuracy"] for m in found[ghn, bits, clip, split].values()])
    for x, bits in enumerate(widths)
    if (ghn, bits, clip, split) in found
  ]
  apart = [point for point in points if _is_apart(point[1])]
  joined = [point for point in points if not _is_apart(point[1])]
  line = "-" if clip == "absolute" else "--"
  label = ghn + clip_name(clip)
  for part, linestyle in ((joined, line), (apart, "none")):
    if part:
      ax.errorbar(
        [x + 0.06 * (i - (len(names) - 1) / 2) for x, *_ in part],
        [statistics.fmean(v) for *_, v in part],
        [standard_error(v) for *_, v in part],
        color=_COLORS[i % len(_COLORS)],
        marker=_MARKERS[i % len(_MARKERS)],
        markerfacecolor="white" if clip != "absolute" else None,
        linestyle=linestyle,
        capsize=2,
        label=label,
      )
      label = None  # once in the legend


def _is_apart(bits):
  """Whether it is no width on the way from float to fewer bits, but mixed
  widths, or noise or codes of another kind."""
  return bits == "mixed" or "_" in bits


def _cloud(ax, found, ghn, width, split, color):
  for (_, bits, clip, own), metrics in found.items():
    if (bits, own) == (width, split):
      base = found.get((ghn, "float", clip, split), {})
      pairs = [
        (base[n]["accuracy"], m["accuracy"])
        for n, m in metrics.items()
        if n in base
      ]
      if pairs:
        ax.scatter(
          *zip(*pairs, strict=True),
          color=color,
          label=SPLITS[split] + clip_name(clip),
          **(_DOT if clip == "absolute" else _CROSS),
        )


def _smooth(values, width=5):
  """Medians of `width` neighbours, fewer at the ends: a step whose loss
  explodes stays out."""
  half = width // 2
  return [
    np.median(values[max(0, i - half) : i + half + 1])
    for i in range(len(values))
  ]
