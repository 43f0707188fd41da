"""Mixed precision: a width for each part of a network, drawn at random."""

import dataclasses

import numpy as np

from qinit.graph import ops, rewrite
from qinit.graph.spec import NetSpec
from qinit.quant.simulation import Simulated, Simulation


@dataclasses.dataclass(frozen=True)
class Mixed:
  """Each part of a network draws one of `ways` with `seed`: the same network
  and seed make the same draw.

  Attributes:
    parts: a row of PARTS.
  """

  ways: tuple[Simulation, ...]
  seed: int
  parts: str = "chains"

  def of(self, network: Simulated) -> dict[str, Simulation]:
    """The width of each node of the network as it runs."""
    parts = PARTS[self.parts](network)
    rng = np.random.Generator(np.random.Philox(key=self.seed))
    drawn = rng.integers(0, len(self.ways), len(parts))
    return {
      name: self.ways[i]
      for part, i in zip(parts, drawn, strict=True)
      for name in part
    }

  def by_node(self, network: Simulated, spec: NetSpec) -> dict:
    """The width of each node of `spec`, a BatchNorm having that of the
    convolution that takes it."""
    widths = self.of(network)
    for norm, folds in rewrite.fold_plan(spec).items():
      widths[norm] = widths[folds[0].conv]
    for node in spec.nodes:
      if isinstance(node.op, ops.Add) and node.name not in widths:
        widths[node.name] = widths[node.inputs[0]]  # Zero was left out of it
    return widths


def _chains(network):
  return [[node.name for node in chain.nodes] for chain in network.chains]


def _layers(network):
  of = dict(network.placement.tensor)
  layers: dict[str, list[str]] = {}
  for node in network.placement.spec.nodes:
    if node.name not in of:  # dropout goes with what it follows
      of[node.name] = of[node.inputs[0]]
    layers.setdefault(of[node.name], []).append(node.name)
  return list(layers.values())


# Names of the nodes that share a width: of chains, which end at sums, concats
# and tensors with several readers, or of layers, each an operation with the
# ReLU that is fused into it.
PARTS = {"chains": _chains, "layers": _layers}
