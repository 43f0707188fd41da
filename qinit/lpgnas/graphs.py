"""Attributed graphs whose nodes are to be classified."""

import dataclasses

import numpy as np

from qinit.errors import DataError

SPLITS = ("random602020", "planetoid")


@dataclasses.dataclass(frozen=True)
class Graph:
  """One graph with a split of its nodes.

  Attributes:
    values, columns, offsets: the features [N, F] as compressed sparse rows.
    num_features: F.
    source, target: [E] int32, sorted by target; one self-loop per node is
      among them, every other edge is there once in each direction it has.
    labels: [N] int64.
    train, val, test: numbers of nodes.
  """

  name: str
  values: np.ndarray
  columns: np.ndarray
  offsets: np.ndarray
  num_features: int
  source: np.ndarray
  target: np.ndarray
  labels: np.ndarray
  num_classes: int
  train: np.ndarray
  val: np.ndarray
  test: np.ndarray

  @property
  def num_nodes(self) -> int:
    return len(self.labels)

  @property
  def degree(self) -> np.ndarray:
    """Edges into each node, its self-loop among them."""
    return np.bincount(self.target, minlength=self.num_nodes)

  @property
  def rows(self) -> np.ndarray:
    """The node of each feature value."""
    return np.repeat(np.arange(self.num_nodes), np.diff(self.offsets))

  def mean_features(self, nodes: np.ndarray) -> np.ndarray:
    """[F] mean over some nodes."""
    chosen = np.isin(self.rows, nodes)
    total = np.zeros(self.num_features, np.float32)
    np.add.at(total, self.columns[chosen], self.values[chosen])
    return total / max(1, len(nodes))


def with_self_loops(source, target, nodes: int):
  """Edges sorted by target, duplicates and self-loops removed, then one
  self-loop added per node."""
  keep = source != target
  loops = np.arange(nodes, dtype=np.int64)
  keys = np.asarray(target[keep], np.int64) * nodes + source[keep]
  keys = np.unique(np.concatenate([keys, loops * nodes + loops]))
  target, source = np.divmod(keys, nodes)
  return source.astype(np.int32), target.astype(np.int32)


def random_split(nodes: np.ndarray, seed: int):
  """60/20/20 of `nodes`, shuffled."""
  order = np.random.default_rng(seed).permutation(nodes)
  ends = round(0.6 * len(order)), round(0.8 * len(order))
  return np.split(order, ends)


def karate(split: str = "random602020") -> Graph:
  """Zachary's karate club as networkx holds it: 34 members, one-hot features,
  the two factions as classes. For demonstrations only."""
  import networkx as nx

  if split != "random602020":
    raise DataError("karate has only the split random602020")
  club = nx.karate_club_graph()
  edges = np.array(club.edges)
  both = np.concatenate([edges, edges[:, ::-1]])
  nodes = len(club)
  source, target = with_self_loops(both[:, 0], both[:, 1], nodes)
  factions = [club.nodes[v]["club"] == "Officer" for v in club]
  return Graph(
    "karate",
    np.ones(nodes, np.float32),
    np.arange(nodes, dtype=np.int32),
    np.arange(nodes + 1, dtype=np.int32),
    nodes,
    source,
    target,
    np.array(factions, np.int64),
    2,
    *random_split(np.arange(nodes), 0),
  )
