"""Graph files: what is read, and one sentence for what cannot be."""

import json

import numpy as np
import pytest

from qinit.errors import DataError
from qinit.lpgnas import graph_files
from qinit.lpgnas.graphs import karate


def arrays():
  """Four nodes, three of them in a path 0-1-2, node 3 isolated."""
  return {
    "x_data": np.float32([1, 1, 2]),
    "x_indices": np.int32([0, 4, 1]),
    "x_indptr": np.int32([0, 2, 2, 3, 3]),
    "x_shape": np.int64([4, 5]),
    "adj_data": np.ones(4, np.float32),
    "adj_indices": np.int32([1, 0, 2, 1]),
    "adj_indptr": np.int32([0, 1, 3, 4, 4]),
    "adj_shape": np.int64([4, 4]),
    "labels": np.int64([0, 1, 0, 1]),
    "r602020_s0_train": np.int64([0, 1]),
    "r602020_s0_val": np.int64([2]),
    "r602020_s0_test": np.int64([3]),
  }


@pytest.fixture
def write(tmp_path):
  """Writes the graph with some arrays replaced, or left out (None)."""

  def save(**changes):
    found = {k: v for k, v in (arrays() | changes).items() if v is not None}
    np.savez(tmp_path / "cora.npz", **found)
    return str(tmp_path)

  return save


def test_a_graph_with_an_isolated_node(write):
  graph = graph_files.load("cora", write())
  edges = set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
  loops = {(v, v) for v in range(4)}
  assert edges == {(0, 1), (1, 0), (1, 2), (2, 1)} | loops
  assert graph.target.tolist() == sorted(graph.target)
  assert graph.degree.tolist() == [2, 3, 2, 1]
  assert graph.rows.tolist() == [0, 0, 2]
  np.testing.assert_array_equal(
    graph.mean_features(np.array([0, 2])), [0.5, 1, 0, 0, 0.5]
  )
  assert (graph.num_nodes, graph.num_features, graph.num_classes) == (4, 5, 2)


def published(**changes):
  """The graph as gnn-benchmark and graph2gauss write one: every edge one way
  or both, no split, and names of nodes that nobody reads."""
  found = {k.replace("x_", "attr_"): v for k, v in arrays().items()}
  found = {k: v for k, v in found.items() if not k.startswith("r602020")}
  one_way = {
    "adj_data": np.ones(2, np.float32),
    "adj_indices": np.int32([1, 2]),
    "adj_indptr": np.int32([0, 1, 2, 2, 2]),
    "idx_to_node": np.array([{0: "a paper"}]),
  }
  return found | one_way | changes


def saint(folder, classes=(0, 1, 0, 1)):
  """The same as GraphSAINT writes it."""
  folder.mkdir()
  edges = {k[4:]: v for k, v in arrays().items() if k.startswith("adj_")}
  np.savez(folder / "adj_full.npz", format=np.array(b"csr"), **edges)
  features = np.zeros([4, 5], np.float32)
  features[0, 0] = features[0, 4] = 1
  features[2, 1] = 2
  np.save(folder / "feats.npy", features)
  text = json.dumps({str(i): c for i, c in enumerate(classes)})
  (folder / "class_map.json").write_text(text)


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_graphs_as_they_are_published(kind, write, tmp_path):
  ours = graph_files.load("cora", write())
  if kind == "npz":
    np.savez(tmp_path / "pubmed.npz", **published())
  else:
    saint(tmp_path / "pubmed")
  theirs = graph_files.load("pubmed", str(tmp_path))
  for name in ("values", "rows", "columns", "source", "target", "labels"):
    np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name))
  parts = np.concatenate([theirs.train, theirs.val, theirs.test])
  assert sorted(parts) == [0, 1, 2, 3]
  again = graph_files.load("pubmed", str(tmp_path))
  np.testing.assert_array_equal(again.train, theirs.train)


def test_published_graphs_that_cannot_be_read(tmp_path):
  saint(tmp_path / "yelp", classes=([0, 1], [1, 0], [1, 1], [0, 0]))
  with pytest.raises(DataError, match="several classes each"):
    graph_files.load("yelp", str(tmp_path))
  (tmp_path / "flickr").mkdir()
  with pytest.raises(DataError, match=r"get adj_full\.npz, feats\.npy and"):
    graph_files.load("flickr", str(tmp_path))
  damaged = published(adj_indices=np.int32([1, 4]))
  np.savez(tmp_path / "pubmed.npz", **damaged)
  with pytest.raises(DataError, match=r"an edge index is out of range 0\.\.3"):
    graph_files.load("pubmed", str(tmp_path))
  without = {k: v for k, v in published().items() if k != "labels"}
  np.savez(tmp_path / "pubmed.npz", **without)
  with pytest.raises(DataError, match="labels missing"):
    graph_files.load("pubmed", str(tmp_path))


NO_EDGES = {
  "adj_data": np.zeros(0, np.float32),
  "adj_indices": np.zeros(0, np.int32),
  "adj_indptr": np.zeros(5, np.int32),
}
DAMAGE = {
  "edge index": ({"adj_indices": np.int32([1, 0, 4, 1])}, "out of range 0..3"),
  "negative": ({"adj_indices": np.int32([1, 0, -1, 1])}, "out of range 0..3"),
  "feature": ({"x_indices": np.int32([0, 5, 1])}, "feature index"),
  "isolated": (NO_EDGES, "all nodes are isolated"),
  "offsets": ({"adj_indptr": np.int32([0, 1, 3, 2, 4])}, "does not fit"),
  "labels": ({"labels": np.int64([0, 1, 0])}, "3 labels"),
  "negative label": ({"labels": np.int64([0, 1, -1, 0])}, "0 or more"),
  "float labels": ({"labels": np.ones(4)}, "whole numbers"),
  "not finite": ({"x_data": np.float32([1, np.nan, 1])}, "not finite"),
  "foreign": ({"adj_indices": None}, "adj_indices missing"),
  "no split": ({"r602020_s0_val": None}, "has no split random602020"),
  "overlap": ({"r602020_s0_val": np.int64([0])}, "overlap"),
  "split range": ({"r602020_s0_test": np.int64([4])}, "out of range 0..3"),
  "objects": ({"labels": np.array([0, None])}, "damaged"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(case, write):
  changes, words = DAMAGE[case]
  with pytest.raises(DataError, match=words):
    graph_files.load("cora", write(**changes))


@pytest.mark.parametrize("count", [0, 10, 300, -30])
def test_cut_files_are_named(count, write, tmp_path):
  path = tmp_path / "cora.npz"
  write()
  path.write_bytes(path.read_bytes()[:count])
  with pytest.raises(DataError, match="damaged"):
    graph_files.load("cora", str(tmp_path))


def test_other_splits_are_named(write):
  with pytest.raises(DataError, match="planetoid: it has random602020"):
    graph_files.load("cora", write(), "planetoid")
  with pytest.raises(DataError, match="did you mean random602020"):
    graph_files.load("cora", write(), "random6020")


@pytest.mark.parametrize("name", ["pubmed", "cora_full", "flickr", "yelp"])
def test_absent_files_say_where_to_get_them(name, tmp_path):
  with pytest.raises(DataError, match=r"get the data from github\.com/"):
    graph_files.load(name, str(tmp_path))


def test_no_folder_at_all(monkeypatch):
  monkeypatch.delenv("QINIT_GRAPHS_DIR", raising=False)
  with pytest.raises(DataError, match="--dataset=karate"):
    graph_files.load("cora")
  with pytest.raises(DataError, match="did you mean cora"):
    graph_files.load("coraa")


def test_karate_is_zacharys():
  graph = karate()
  assert (graph.num_nodes, graph.num_classes) == (34, 2)
  assert len(graph.source) == 2 * 78 + 34
  assert graph.degree.max() == 18  # member 34 has 17 friends
  assert [len(p) for p in (graph.train, graph.val, graph.test)] == [20, 7, 7]


@pytest.mark.parametrize(
  "name, nodes, edges, features, classes",
  [("cora", 2708, 5278, 1433, 7), ("citeseer", 3327, 4552, 3703, 6)],
)
def test_the_real_ones(real_graph, name, nodes, edges, features, classes):
  graph = real_graph(name, "planetoid")
  assert graph.num_nodes == nodes and graph.num_features == features
  assert len(graph.source) == 2 * edges + nodes
  assert graph.num_classes == classes
  assert [len(graph.val), len(graph.test)] == [500, 1000]
  assert set(graph.values.tolist()) == {1.0}
