"""Which nodes share a width."""

from qinit.data.normalise import RANGE
from qinit.quant.mixed import PARTS, Mixed
from qinit.quant.simulation import Simulated, Simulation
from tests.functional.test_chains import network

WAYS = tuple(Simulation(8, bits) for bits in range(2, 9))


def drawn(parts, seed=0):
  simulated = Simulated(network()[0], RANGE)
  return simulated, Mixed(WAYS, seed, parts).of(simulated)


def test_every_node_has_a_width_and_a_seed_makes_it():
  for parts in PARTS:
    simulated, widths = drawn(parts)
    assert widths.keys() == {n.name for n in simulated.placement.spec.nodes}
    assert widths == drawn(parts)[1] != drawn(parts, 1)[1]


def test_a_chain_has_one_width_and_its_layers_have_several():
  counts = {}
  for parts in PARTS:
    simulated, widths = drawn(parts)
    counts[parts] = [
      len({widths[node.name] for node in chain.nodes})
      for chain in simulated.chains
    ]
  assert set(counts["chains"]) == {1}
  assert max(counts["layers"]) > 1


def test_a_layer_has_the_width_of_its_relu():
  simulated, widths = drawn("layers")
  fused = [g for g in simulated.placement.groups if g.name != g.node.name]
  assert fused
  for group in fused:
    assert widths[group.name] == widths[group.node.name]
