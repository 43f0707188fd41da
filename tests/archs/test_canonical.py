"""The canonical form against isomorphism of graphs found by search."""

import dataclasses
import itertools
import random

import networkx as nx
import pytest

from qinit.archs import canonical
from qinit.archs.genotype import Genotype, NetConfig

OPS = ("conv_3x3", "skip_connect")


def graph(edges, concat):
  """What the output of a cell reads, as a coloured graph: an oracle that
  shares nothing with the canonical form."""
  result = nx.DiGraph()
  result.add_nodes_from((0, 1, "out"))
  for j, (op, source) in enumerate(edges):
    state, term = j // 2 + 2, f"term{j}"
    result.add_edge(source, term)
    result.add_edge(term, state)
    result.nodes[term]["color"] = op
    result.nodes[state].setdefault("color", "state")
  result.add_edges_from((state, "out") for state in concat)
  result.nodes[0]["color"], result.nodes[1]["color"] = "first", "second"
  result.nodes["out"]["color"] = "out"
  return result.subgraph(nx.ancestors(result, "out") | {"out", 0, 1})


def isomorphic(one, other):
  same_color = nx.isomorphism.categorical_node_match("color", None)
  return nx.is_isomorphic(graph(*one), graph(*other), same_color)


def random_cell(rng, steps, ops=OPS):
  edges = []
  for state in range(2, steps + 2):
    for source in rng.sample(range(state), 2):
      edges.append((rng.choice(ops), source))
  states = range(2, steps + 2)
  concat = [s for s in states if rng.random() < 0.6] or [steps + 1]
  rng.shuffle(concat)
  return tuple(edges), tuple(concat)


def renumbered(rng, edges, concat):
  """The same cell: states in another order where they may be, terms swapped."""
  steps = len(edges) // 2
  for _ in range(50):
    order = rng.sample(range(2, steps + 2), steps)
    number = {0: 0, 1: 1} | {s: i for i, s in enumerate(order, 2)}
    cell = []
    for state in order:
      pair = [(op, number[s]) for op, s in canonical.terms(edges, state)]
      cell += rng.sample(pair, 2)
    if all(source < j // 2 + 2 for j, (_, source) in enumerate(cell)):
      return tuple(cell), tuple(number[s] for s in concat)
  return edges, concat


def test_all_pairs_of_small_cells_by_search():
  rng = random.Random(0)
  cells = [random_cell(rng, rng.randint(1, 3), OPS[:1]) for _ in range(60)]
  verdicts = set()
  for one, other in itertools.combinations(cells, 2):
    same = canonical.cell(*one) == canonical.cell(*other)
    assert same == isomorphic(one, other), (one, other)
    verdicts.add(same)
  assert verdicts == {True, False}


def test_renumbered_cells_are_one():
  rng = random.Random(1)
  for _ in range(200):
    cell = random_cell(rng, rng.randint(1, 5))
    again = renumbered(rng, *cell)
    assert isomorphic(cell, again)
    assert canonical.cell(*cell) == canonical.cell(*again)


def test_a_shared_state_is_not_two_equal_ones():
  """Unfolded into trees the two cells are the same."""
  a = (("skip_connect", 0), ("skip_connect", 1))
  shared = (
    a + a + (("conv_3x3", 2), ("conv_5x5", 0), ("conv_3x3", 2), ("conv_7x7", 0))
  )
  twice = (
    a + a + (("conv_3x3", 2), ("conv_5x5", 0), ("conv_3x3", 3), ("conv_7x7", 0))
  )
  ends = (2, 3, 4, 5)
  assert not isomorphic((shared, ends), (twice, ends))
  assert canonical.cell(shared, ends) != canonical.cell(twice, ends)


def test_the_inputs_are_not_exchangeable():
  one = (("conv_3x3", 0), ("skip_connect", 1))
  other = (("conv_3x3", 1), ("skip_connect", 0))
  assert canonical.cell(one, (2,)) != canonical.cell(other, (2,))


def test_dead_states_do_not_count():
  live = (("conv_3x3", 0), ("skip_connect", 1))
  dead = (("conv_7x7", 0), ("max_pool_3x3", 1))
  assert canonical.live_states(dead + live, (3,)) == [3]
  assert canonical.cell(dead + live, (3,)) == canonical.cell(live, (2,))


CONFIG = NetConfig(
  Genotype(
    (("conv_3x3", 0), ("skip_connect", 1)),
    (2,),
    (("max_pool_3x3", 0), ("skip_connect", 1)),
    (2,),
  ),
  n_cells=5,
  C=32,
)


@pytest.mark.parametrize(
  ("change", "same"),
  [
    ({"fc_dim": 64}, True),
    ({"norm": "bnorm"}, True),
    ({"norm": None}, False),
    ({"fc_layers": 2}, False),
    ({"n_cells": 6}, False),
    ({"C": 48}, False),
    ({"C_mult": 2}, False),
    ({"ks": 5}, False),
    ({"stem_type": 1}, False),
    ({"stem_pool": True}, False),
    ({"glob_avg": False}, False),
    ({"preproc": False}, False),
  ],
)
def test_what_makes_another_network(change, same):
  other = dataclasses.replace(CONFIG, **change)
  assert (canonical.digest(other) == canonical.digest(CONFIG)) == same


def test_the_width_of_a_hidden_layer_counts():
  two = dataclasses.replace(CONFIG, fc_layers=2)
  assert canonical.digest(two) != canonical.digest(
    dataclasses.replace(two, fc_dim=64)
  )


def test_exchanged_cells_are_another_network():
  normal, reduce = CONFIG.genotype.normal, CONFIG.genotype.reduce
  other = dataclasses.replace(
    CONFIG, genotype=Genotype(reduce, (2,), normal, (2,))
  )
  assert canonical.digest(other) != canonical.digest(CONFIG)
