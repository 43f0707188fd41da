"""The order in which a message-passing sweep visits the nodes of one graph."""

import dataclasses

import numpy as np

# Places in a step. Mobile networks are narrow: more would mostly be padding.
LANES = 2


@dataclasses.dataclass(frozen=True)
class Sweep:
  """Nodes in steps, each behind all nodes that it hears from.

  Attributes:
    place: [N] of each node step * LANES + lane.
    distance: [steps * LANES, steps * LANES] uint8 by place (hearer, speaker);
      0 without an edge.
  """

  place: np.ndarray
  distance: np.ndarray

  @property
  def steps(self) -> int:
    return len(self.distance) // LANES


def sweeps(predecessors, distance: np.ndarray) -> tuple[Sweep, Sweep]:
  """The sweep along the edges and the one against them; arguments as in
  `GhnGraph`."""
  forward = _places(predecessors)
  backward = _places(_successors(predecessors))[::-1]
  return _sweep(forward, distance.T), _sweep(backward, distance)


def _places(predecessors):
  """Each node's place: the first free one in a step behind its predecessors."""
  steps, places = [], []
  free = [0] * (len(predecessors) + 1)
  for before in predecessors:
    if len(before) == 1:
      step = steps[before[0]] + 1
    else:
      step = 1 + max((steps[u] for u in before), default=-1)
    while free[step] == LANES:
      step += 1
    places.append(step * LANES + free[step])
    free[step] += 1
    steps.append(step)
  return np.array(places)


def _successors(predecessors):
  """Of the nodes in reverse order, as predecessors of the reverse sweep."""
  last = len(predecessors) - 1
  after = [[] for _ in predecessors]
  for v, before in enumerate(predecessors):
    for u in before:
      after[last - u].append(last - v)
  return after


def _sweep(place, distance):
  size = (1 + int(place.max()) // LANES) * LANES
  by_place = np.zeros([size, size], np.uint8)
  by_place[np.ix_(place, place)] = distance
  return Sweep(place, by_place)
