"""Graphs small enough to work out by hand, and the real ones where they are."""

import os
from pathlib import Path

import numpy as np
import pytest

from qinit.lpgnas import graph_files
from qinit.lpgnas.graphs import Graph, with_self_loops


@pytest.fixture(scope="session")
def real_graph():
  """Maps a name to a graph of QINIT_GRAPHS_DIR."""
  folder = os.environ.get("QINIT_GRAPHS_DIR")
  if not folder or not Path(folder).is_dir():
    pytest.skip("QINIT_GRAPHS_DIR names no folder: REAL GRAPHS NOT TESTED")
  return lambda name, split="random602020": graph_files.load(
    name, folder, split
  )


@pytest.fixture
def random_graph():
  """A random graph of 20 nodes, 12 features and 3 classes; node 19 has no
  edges and node 18 no features."""
  return make_graph(20, 12, 3)


def make_graph(nodes, features, classes, seed=0, density=0.3, edges=None):
  rng = np.random.default_rng(seed)
  x = rng.random([nodes, features]) < density
  x[-2] = False
  rows, columns = np.nonzero(x)
  offsets = np.searchsorted(rows, np.arange(nodes + 1))
  ends = rng.integers(0, nodes - 1, [2, edges or 3 * nodes])
  both = np.concatenate([ends, ends[::-1]], 1)
  source, target = with_self_loops(*both, nodes)
  parts = np.split(rng.permutation(nodes), [nodes // 2, 3 * nodes // 4])
  return Graph(
    "random",
    np.ones(len(rows), np.float32),
    columns.astype(np.int32),
    offsets.astype(np.int32),
    features,
    source,
    target,
    rng.integers(0, classes, nodes),
    classes,
    *parts,
  )
