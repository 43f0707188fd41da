"""Figures of a data set of networks: what they are like, and what some of
them look like."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from qinit.archs.canonical import live_states, terms
from qinit.archs.collection import Network
from qinit.archs.survey import Survey
from qinit.report import style

_QUANTITIES = (
  ("num_nodes", "Graph nodes", 1, False),
  ("n_cells", "Cells", 1, False),
  ("num_params", "Parameters, $10^6$", 1e6, True),
  ("macs", "MACs, $10^6$", 1e6, True),
)
_BINS = 40
_SAMPLES = 4
_BEND = 0.6
_COLORS = {
  "skip": style.GREY,
  "max": style.SKY,
  "avg": style.SKY,
  "sep": style.ORANGE,
  "dil": style.VERMILION,
  "conv": style.BLUE,
}
_KINDS = {
  "conv": "convolution",
  "sep": "separable",
  "dil": "dilated",
  "max": "pooling (max, average)",
  "skip": "skip",
}


@style.drawing
def histograms(surveys: Mapping[str, Survey]) -> Figure:
  """Per split (row) the shares of networks by nodes, cells, parameters and
  MACs, on one axis per quantity; a line marks the median."""
  figure = Figure(figsize=(11, 1.0 + 1.25 * len(surveys)), layout="constrained")
  axes = figure.subplots(len(surveys), 4, sharex="col", squeeze=False)
  for column, (name, label, scale, logarithmic) in enumerate(_QUANTITIES):
    edges = _edges(
      [s.columns[name] / scale for s in surveys.values()],
      logarithmic,
      name == "n_cells",
    )
    for ax, survey in zip(axes[:, column], surveys.values(), strict=True):
      values = survey.columns[name] / scale
      ax.hist(
        values,
        edges,
        weights=np.full(len(values), 100 / len(values)),
        color=style.BLUE,
        edgecolor="white",
        linewidth=0.3,
      )
      ax.axvline(np.median(values), color=style.VERMILION, linewidth=1.2)
      if logarithmic:
        ax.set_xscale("log")
      ax.grid(False, axis="x")
    axes[-1, column].set_xlabel(label)
  for ax, (name, survey) in zip(axes[:, 0], surveys.items(), strict=True):
    ax.set_ylabel(
      f"{name}\n{len(survey):,}\n%", rotation=0, ha="right", va="center"
    )
  return figure


@style.drawing
def operations(surveys: Mapping[str, Survey]) -> Figure:
  """Share of each operation in the cells, a bar per split."""
  ops = sorted({op for s in surveys.values() for op in s.ops}, key=_by_kind)
  figure = Figure(
    figsize=(1.2 + 1.5 * len(surveys), 0.9 + 0.27 * len(ops)),
    layout="constrained",
  )
  axes = figure.subplots(
    1, len(surveys), sharex=True, sharey=True, squeeze=False
  )[0]
  for ax, (name, survey) in zip(axes, surveys.items(), strict=True):
    shares = survey.op_shares()
    ax.barh(
      ops, [shares.get(op, 0) for op in ops], color=[_color(op) for op in ops]
    )
    ax.set_title(name)
    ax.set_xlabel("% of operations")
    ax.grid(False, axis="y")
  axes[0].invert_yaxis()
  return figure


@style.drawing
def sheet(samples: Mapping[str, Sequence[Network]]) -> Figure:
  """Sample networks, a row per split: of each its normal and its reduction
  cell. An edge is an operation; a circle sums two, a filled one belongs to
  the output of the cell. k-2 and k-1 are the outputs of the two cells
  before."""
  columns = max(map(len, samples.values()))
  figure = Figure(
    figsize=(3.5 * columns, 0.5 + 1.7 * len(samples)), layout="constrained"
  )
  grid = figure.subfigures(len(samples), columns, squeeze=False)
  for panels, (split, networks) in zip(grid, samples.items(), strict=True):
    for panel, network in zip(panels, networks, strict=False):
      _panel(panel, split, network)
  handles = [_handle(kind, text) for kind, text in _KINDS.items()]
  figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
  return figure


def samples(networks: Iterable[Network]) -> list[Network]:
  """The first network of each number of states per cell."""
  first: dict[int, Network] = {}
  for network in networks:
    first.setdefault(len(network.config.genotype.normal), network)
    if len(first) == _SAMPLES:
      break
  return [first[steps] for steps in sorted(first)]


def _edges(columns, logarithmic, whole):
  """Bin edges that cover all splits."""
  least = min(values.min() for values in columns)
  most = max(values.max() for values in columns)
  if whole:  # one bin for each number
    return np.arange(least, most + 2) - 0.5
  space = np.geomspace if logarithmic else np.linspace
  return space(least, most, _BINS + 1)


def _by_kind(op):
  return (list(_COLORS).index(op.split("_")[0]), op)


def _color(op):
  return _COLORS[op.split("_")[0]]


def _handle(kind, text):
  return Line2D([], [], color=_COLORS[kind], linewidth=2, label=text)


def _panel(panel, split, network):
  config = network.config
  panel.suptitle(
    f"{split}: {config.n_cells} cells, {config.C} channels"
    f"{'' if config.norm else ', no BatchNorm'}\n"
    f"{network.num_params / 1e6:.2f} M parameters,"
    f" {network.macs / 1e6:.0f} M MACs",
    fontsize=8,
  )
  genotype = config.genotype
  axes = panel.subplots(1, 2)
  _cell(axes[0], "normal", genotype.normal, genotype.normal_concat)
  _cell(axes[1], "reduction", genotype.reduce, genotype.reduce_concat)


def _cell(ax, title, edges, concat):
  """Inputs and live states in a line; of the two edges into a state the longer
  runs above it, the other below."""
  live = live_states(edges, concat)
  place = {state: float(x) for x, state in enumerate([0, 1, *live])}
  for state in live:
    pair = sorted(terms(edges, state), key=lambda term: term[1])
    for (op, source), side in zip(pair, (1, -1), strict=True):
      _arrow(ax, place[source], place[state], op, side)
  for state, name in ((0, "k-2"), (1, "k-1")):
    ax.text(place[state], 0, name, ha="center", va="center", fontsize=7)
  for state in live:
    color = style.BLACK if state in concat else "white"
    ax.scatter(place[state], 0, 36, color, edgecolors=style.BLACK, zorder=3)
  ax.set_title(title, fontsize=7.5, pad=1)
  widest = len(edges) // 2 + 1
  ax.set_xlim(-0.35, widest + 0.25)
  ax.set_ylim(-0.3 * widest - 0.1, 0.3 * widest + 0.1)
  ax.set_aspect("equal")
  ax.set_axis_off()


def _arrow(ax, start, end, op, side):
  """An arc; its label is the size of the kernel, or m or a for pooling."""
  color, bend = _color(op), _BEND * side
  ax.add_patch(
    FancyArrowPatch(
      (start, 0),
      (end, 0),
      arrowstyle="-|>",
      connectionstyle=f"arc3,rad={-bend}",
      mutation_scale=7,
      shrinkA=7,
      shrinkB=4,
      color=color,
      linewidth=1.4,
    )
  )
  kind, *_, size = op.split("_")
  label = {"max": "m", "avg": "a", "skip": ""}.get(kind, size[0])
  apex = bend * (end - start) / 2
  box = dict(boxstyle="round,pad=0.05", color="white")
  look = dict(color=color, fontsize=6.5, ha="center", va="center", zorder=4)
  if label:
    ax.text((start + end) / 2, apex, label, bbox=box, **look)
