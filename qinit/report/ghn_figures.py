"""Figures of the hypernetworks: pure functions of rows."""

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
from qinit.report.ghn_means import CHANCE, standard_error

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
_SHORT = 10  # curves of less than a tenth of the longest are not drawn


@style.drawing
def accuracy_by_width(records) -> Figure:
  """Mean accuracy with its standard error, by width, a panel per split and a
  line per hypernetwork, broken where weights are clipped."""
  found = by_cell(records)
  splits = [s for s in SPLITS if any(key[3] == s for key in found)]
  widths = sorted({key[1] for key in found}, key=width_order)
  names = list(dict.fromkeys(key[0] for key in found))
  lines = dict.fromkeys((key[0], key[2]) for key in found)
  panel = max(3.1, 0.65 * len(widths))
  figure = Figure(
    figsize=(panel * len(splits) + 0.6, 3.9), layout="constrained"
  )
  axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
  for ax, split in zip(axes, splits, strict=True):
    for ghn, clip in lines:
      _line(ax, found, widths, ghn, clip, split, names)
    ax.axhline(CHANCE, color=style.GREY, linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(widths)), _ticks(widths))
    ax.set_title(SPLITS[split])
  axes[0].set_ylabel("Top-1 accuracy (%)")
  style.legend_below(figure)
  return figure


@style.drawing
def quantised_against_float(records, ghn: str) -> Figure:
  """Each network's accuracy, quantised against float: a panel per width, a
  colour per split, crosses where weights are clipped; the axes
  begin at chance."""
  found = {k: v for k, v in by_cell(records).items() if k[0] == ghn}
  widths = sorted({k[1] for k in found} - {"float"}, key=width_order)
  figure = Figure(
    figsize=(3.0 * max(len(widths), 1), 3.6), layout="constrained"
  )
  axes = figure.subplots(
    1, max(len(widths), 1), sharex=True, sharey=True, squeeze=False
  )[0]
  for ax, width in zip(axes, widths, strict=False):
    for color, split in zip(_COLORS, SPLITS, strict=False):
      _cloud(ax, found, ghn, width, split, color)
    ax.axline(
      (CHANCE, CHANCE), slope=1, color=style.GREY, linewidth=0.8, linestyle="--"
    )
    ax.set_title(width_name(width))
    ax.set_xlabel("Float accuracy (%)")
  axes[0].set_ylabel("Quantised accuracy (%)")
  style.legend_below(figure)
  figure.suptitle(ghn, fontweight="bold")
  return figure


@style.drawing
def predicted_weights(layers: list[list], title: str) -> Figure:
  """The distributions of a network's predicted kernels, layer by layer: the
  median in its quartiles, the 1st and 99th percentile, and the range."""
  figure = Figure(figsize=(11, 4.2), layout="constrained")
  ax = figure.subplots()
  values = np.array([row[1:] for row in layers], float)
  x = np.arange(len(values))
  bands = ((0, 6, style.PALE, "range"), (1, 5, style.SKY, "1 % to 99 %"))
  for lo, hi, color, label in (*bands, (2, 4, style.BLUE, "quartiles")):
    ax.vlines(x, values[:, lo], values[:, hi], color, linewidth=4, label=label)
  ax.plot(x, values[:, 3], "o", color=style.BLACK, markersize=2, label="median")
  ax.set_yscale("symlog", linthresh=0.1)
  ax.set_xticks(x, [row[0].rsplit("/", 1)[0] for row in layers])
  ax.tick_params(axis="x", rotation=90, labelsize=4.5 if len(x) > 40 else 7)
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
    color = _COLORS[i % len(_COLORS)]
    for ax, column in zip(axes, (1, 2), strict=True):
      ax.plot(
        curve[:, 0],
        _smooth(curve[:, column]),
        color=color,
        linestyle="-" if i < len(_COLORS) else "--",
        label=training_name(record),
      )
  for ax, label in zip(
    axes, ("Training loss", "Training accuracy (%)"), strict=True
  ):
    ax.set_xlabel("Step")
    ax.set_ylabel(label)
  style.logarithmic(axes[0].yaxis)  # a single network's loss may be large
  style.legend_below(figure)
  return figure


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
          s=12,
          color=color,
          marker="o" if clip == "absolute" else "x",
          label=SPLITS[split] + clip_name(clip),
        )


def _smooth(values, width=5):
  """Means of `width` neighbours, fewer at the ends."""
  kernel = np.ones(min(width, len(values)))
  total = np.convolve(values, kernel, "same")
  return total / np.convolve(np.ones(len(values)), kernel, "same")
