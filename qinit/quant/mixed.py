"""Mixed precision: a width for each chain of layers, drawn at random."""

import dataclasses

import numpy as np

from qinit.graph import ops, rewrite
from qinit.graph.spec import NetSpec
from qinit.quant.simulation import Simulated, Simulation


@dataclasses.dataclass(frozen=True)
class Mixed:
  """Each chain of a network draws one of `ways` with `seed`: the same network
  and seed make the same draw."""

  ways: tuple[Simulation, ...]
  seed: int

  def of(self, network: Simulated) -> dict[str, Simulation]:
    """The width of each chain by the name of its output."""
    rng = np.random.Generator(np.random.Philox(key=self.seed))
    drawn = rng.integers(0, len(self.ways), len(network.chains))
    return {
      chain.output: self.ways[i]
      for chain, i in zip(network.chains, drawn, strict=True)
    }

  def by_node(self, network: Simulated, spec: NetSpec) -> dict:
    """The width of each node of `spec`, a BatchNorm having that of the
    convolution that takes it."""
    widths, by_chain = {}, self.of(network)
    for chain in network.chains:
      for node in chain.nodes:
        widths[node.name] = by_chain[chain.output]
    for norm, folds in rewrite.fold_plan(spec).items():
      widths[norm] = widths[folds[0].conv]
    for node in spec.nodes:
      if isinstance(node.op, ops.Add) and node.name not in widths:
        widths[node.name] = widths[node.inputs[0]]  # Zero was left out of it
    return widths
