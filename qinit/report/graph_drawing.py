"""The hypernetwork's graph as a picture, as GraphML or as JSON."""

import json
import os
from pathlib import Path

import networkx as nx
import numpy as np
from matplotlib.figure import Figure

from qinit.errors import QinitError
from qinit.files import write_text
from qinit.graph.view import PRIMITIVES, GhnGraph
from qinit.report import style

# Colour and marker of each primitive; the colours are Okabe and Ito's.
_LOOKS = {
  "input": (style.GREEN, ">"),
  "conv": (style.BLUE, "s"),
  "sep_conv": (style.ORANGE, "o"),
  "dil_conv": (style.VERMILION, "o"),
  "bn": (style.PALE, "s"),
  "max_pool": (style.SKY, "v"),
  "avg_pool": (style.SKY, "^"),
  "sum": (style.BLACK, "P"),
  "concat": (style.BLACK, "D"),
  "glob_avg": (style.GREEN, "h"),
  "bias": (style.GREY, "."),
  "msa": (style.PURPLE, "*"),
  "cse": (style.PURPLE, "X"),
  "ln": (style.PURPLE, "s"),
  "pos_enc": (style.PURPLE, "p"),
}
_LEVELS_PER_ROW = 45


def write(
  graph: GhnGraph, path: str | os.PathLike, virtual: bool = False
) -> None:
  """Writes the graph in the form that the ending of `path` names.

  Args:
    virtual: also the edges that stand for paths of more than one hop.

  Raises:
    QinitError: for another ending than .png, .graphml or .json.
  """
  path = Path(path)
  if path.suffix not in _WRITERS:
    raise QinitError(f"{path} must end in {', '.join(_WRITERS)}")
  edges = graph.edges if virtual else _direct(graph)
  path.parent.mkdir(parents=True, exist_ok=True)
  _WRITERS[path.suffix](graph, edges, path)


def to_dict(graph: GhnGraph, edges: np.ndarray) -> dict:
  """`nodes` (name, primitive, shape, params) and `edges` [source, target,
  distance]."""
  nodes = [
    {
      "name": name,
      "primitive": PRIMITIVES[primitive],
      "shape": shape if any(shape) else None,
      "params": list(keys),
    }
    for name, primitive, shape, keys in zip(
      graph.names,
      graph.primitive,
      graph.shape.tolist(),
      graph.keys,
      strict=True,
    )
  ]
  return {"nodes": nodes, "edges": edges.tolist()}


@style.drawing
def draw(graph: GhnGraph, edges: np.ndarray | None = None) -> Figure:
  """Topological levels from left to right, in rows like text.

  Args:
    edges: [M, 3] as `graph.edges`; the direct ones by default.
  """
  edges = _direct(graph) if edges is None else edges
  position = _layout(graph)
  rows = 1 + max(row for row, _, _ in position)
  widest = max(x for _, x, _ in position)
  fig = Figure(figsize=(1.6 + 0.24 * (widest + 1), 1.2 + 2.4 * rows))
  fig.set_layout_engine("constrained")
  axes = np.atleast_1d(fig.subplots(rows, 1, sharex=True, sharey=True))
  for ax in axes:
    ax.set_axis_off()
  _draw_edges(axes, position, edges)
  primitives = [PRIMITIVES[p] for p in graph.primitive]
  for name, (color, marker) in _LOOKS.items():
    nodes = [position[v] for v, p in enumerate(primitives) if p == name]
    for row in {r for r, _, _ in nodes}:
      points = np.array([(x, y) for r, x, y in nodes if r == row])
      axes[row].scatter(
        *points.T,
        34,
        color,
        marker,
        edgecolors="white",
        linewidths=0.5,
        zorder=3,
      )
    if nodes:
      label = f"{name} ({len(nodes)})"
      axes[0].scatter([], [], 34, color, marker, label=label)
  fig.legend(loc="outside lower center", ncols=6)
  fig.suptitle(
    f"{len(graph)} nodes, {int((edges[:, 2] == 1).sum())} edges,"
    f" {int((edges[:, 2] > 1).sum())} virtual edges"
  )
  return fig


def _direct(graph):
  return graph.edges[graph.edges[:, 2] == 1]


def _draw_edges(axes, position, edges):
  for source, target, distance in edges.tolist():
    (row, x0, y0), (end, x1, y1) = position[source], position[target]
    direct = distance == 1
    look = dict(
      color=style.GREY if direct else style.PURPLE,
      linewidth=0.9 if direct else 0.4,
      alpha=0.9 if direct else 0.6 / distance,
      zorder=2 if direct else 1,
    )
    # An edge into another row leaves to the right and comes in from the left.
    last = _LEVELS_PER_ROW
    if row == end:
      axes[row].plot([x0, x1], [y0, y1], **look)
    else:
      axes[row].plot([x0, last], [y0, y1], **look)
      axes[end].plot([-1, x1], [y0, y1], **look)


def _layout(graph):
  """(row, x, y) of each node: its level, and beside the nodes that it reads
  unless another of its level is there already."""
  levels, height, taken = [], [], {}
  for before in graph.predecessors:
    level = 1 + max((levels[u] for u in before), default=-1)
    wanted = round(np.mean([height[u] for u in before])) if before else 0
    used = taken.setdefault(level, set())
    free = (wanted + s * d for d in range(len(graph)) for s in (1, -1))
    place = next(y for y in free if y not in used)
    used.add(place)
    levels.append(level)
    height.append(place)
  return [
    (*divmod(level, _LEVELS_PER_ROW), y)
    for level, y in zip(levels, height, strict=True)
  ]


def _write_png(graph, edges, path):
  style.save(draw(graph, edges), path)


def _write_json(graph, edges, path):
  write_text(path, json.dumps(to_dict(graph, edges)) + "\n")


def _write_graphml(graph, edges, path):
  plain = to_dict(graph, edges)
  result = nx.DiGraph()
  for v, node in enumerate(plain["nodes"]):
    shape, params = node["shape"] or [], node["params"]
    result.add_node(
      v,
      name=node["name"],
      primitive=node["primitive"],
      shape=" ".join(map(str, shape)),
      params=" ".join(params),
    )
  for source, target, distance in plain["edges"]:
    result.add_edge(source, target, distance=distance)
  write_text(path, "\n".join(nx.generate_graphml(result)) + "\n")


_WRITERS = {
  ".png": _write_png,
  ".graphml": _write_graphml,
  ".json": _write_json,
}
