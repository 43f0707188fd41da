"""The published implementation's values, and how to match them with ours."""

import json
import os
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from qinit.archs import darts, genotype
from qinit.graph.view import PRIMITIVES

NETS = ("net0", "net1", "net2", "net3")
GOLDEN = (
  "A_bn_sep_dil",
  "B_nobn_vgghead",
  "C_none_dropconcat",
  "D_wide_tiled",
)


def folder() -> Path:
  """The folder of the reference values; skips the test without it."""
  root = os.environ.get("QINIT_REFERENCE_DIR")
  if not root:
    pytest.skip("QINIT_REFERENCE_DIR is not set: no reference values for GHN-2")
  path = Path(root)
  path = path if (path / "golden.json").exists() else path / "ghn2"
  if not (path / "golden.json").exists():
    pytest.skip(f"QINIT_REFERENCE_DIR={root} has no GHN-2 reference values")
  return path


def net(name):
  """(spec, arrays) of one of NETS."""
  path = folder()
  spec = darts.build(genotype.from_json((path / f"{name}.json").read_text()))
  with np.load(path / f"{name}.npz") as file:
    return spec, dict(file)


def golden():
  return json.loads((folder() / "golden.json").read_text())


def golden_spec(arch):
  """The spec of a network of golden.json, whose genotype lies flat."""
  cells = ("normal", "normal_concat", "reduce", "reduce_concat")
  config = {k: v for k, v in arch.items() if k not in cells}
  config["genotype"] = {k: arch[k] for k in cells}
  return darts.build(genotype.from_dict(config))


def torch_name(key):
  """Our "node/role" as the reference calls it."""
  node, role = key.rsplit("/", 1)
  return f"{node}.{'bias' if role in ('bias', 'beta') else 'weight'}"


def torch_params(params):
  """Our parameters under the reference's names and in its layout."""
  return {
    torch_name(k): _torch_layout(k, np.asarray(v)) for k, v in params.items()
  }


def our_graph(graph):
  """A GhnGraph with the reference's labels (primitive, name)."""
  labels = [
    (PRIMITIVES[p], torch_name(keys[0]) if keys else "")
    for p, keys in zip(graph.primitive, graph.keys, strict=True)
  ]
  return labelled(labels, graph.edges)


def labelled(labels, edges):
  """A networkx graph whose nodes carry colours that tell them apart."""
  graph = nx.DiGraph()
  for v, label in enumerate(labels):
    graph.add_node(v, colour=str(label))
  for u, v, d in np.asarray(edges).tolist():
    graph.add_edge(u, v, distance=d)
  return graph


def match(ours, theirs):
  """Our node for each of theirs; fails unless labels, edges and distances of
  the two graphs are equal."""
  _refine(ours)
  _refine(theirs)
  matcher = nx.isomorphism.DiGraphMatcher(
    theirs,
    ours,
    node_match=lambda a, b: a["colour"] == b["colour"],
    edge_match=lambda a, b: a["distance"] == b["distance"],
  )
  assert matcher.is_isomorphic()
  return [matcher.mapping[v] for v in range(len(theirs))]


def _refine(graph):
  """Colours by distance and colour of all neighbours, three times over."""
  for _ in range(3):
    colours = {}
    for v, own in graph.nodes("colour"):
      near = sorted(
        [
          f"<{d}{graph.nodes[u]['colour']}"
          for u, _, d in graph.in_edges(v, "distance")
        ]
        + [
          f">{d}{graph.nodes[w]['colour']}"
          for _, w, d in graph.out_edges(v, "distance")
        ]
      )
      colours[v] = str(hash((own, *near)))
    nx.set_node_attributes(graph, colours, "colour")


def _torch_layout(key, value):
  if key.endswith("depthwise_kernel"):
    return value.transpose(2, 3, 0, 1)
  return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
