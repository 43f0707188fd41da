"""When are two networks the same? The canonical form of constructor arguments.

States of a cell are numbered arbitrarily, terms of a sum and states of an
output have no order, states that nothing reads do not exist. What differs in
nothing else is the same network up to the order of its channels.
"""

import hashlib
import itertools
import json

from qinit.archs.genotype import NetConfig

Edges = tuple[tuple[str, int], ...]


def live_states(edges: Edges, concat: tuple[int, ...]) -> list[int]:
  """The states of a cell that its output depends on, in order."""
  live = set(concat)
  for state in range(len(edges) // 2 + 1, 1, -1):
    if state in live:
      live.update(source for _, source in terms(edges, state))
  return sorted(live - {0, 1})


def terms(edges: Edges, state: int) -> Edges:
  """The two (op, input state) whose sum is the state."""
  return edges[2 * state - 4 : 2 * state - 2]


def cell(edges: Edges, concat: tuple[int, ...]) -> tuple:
  """The canonical form of a cell: equal for isomorphic cells and only then.

  The least description over all numberings of the live states. Only states
  that look alike in what they read are tried in every order.
  """
  live = live_states(edges, concat)
  looks: dict[int, tuple] = {0: (0,), 1: (1,)}
  for state in live:
    read = sorted((op, looks[source]) for op, source in terms(edges, state))
    looks[state] = (2, *read, state in concat)
  look = looks.__getitem__
  groups = itertools.groupby(sorted(live, key=look), look)
  orders = (tuple(itertools.permutations(group)) for _, group in groups)
  return min(
    _numbered(edges, concat, list(itertools.chain(*order)))
    for order in itertools.product(*orders)
  )


def canonical(config: NetConfig) -> tuple:
  """A value that is equal for two networks if they are the same: plain data,
  to be compared. A width of a layer that is not there does not count."""
  genotype = config.genotype
  return (
    cell(genotype.normal, genotype.normal_concat),
    cell(genotype.reduce, genotype.reduce_concat),
    config.n_cells,
    config.C,
    config.C_mult,
    config.ks,
    config.stem_type,
    config.stem_pool,
    config.norm is not None,
    config.preproc,
    config.fc_layers,
    config.fc_dim if config.fc_layers == 2 else 0,
    config.glob_avg,
    config.num_classes,
  )


def digest(config: NetConfig) -> str:
  """Sixteen hex digits of the canonical form."""
  text = json.dumps(canonical(config), separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _numbered(edges, concat, order):
  """The cell with its states renumbered in `order`."""
  number = {0: 0, 1: 1} | {state: i for i, state in enumerate(order, 2)}
  states = tuple(
    tuple(sorted((op, number[source]) for op, source in terms(edges, state)))
    for state in order
  )
  return states, tuple(sorted(number[state] for state in concat))
