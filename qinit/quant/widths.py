"""The quantisations of simulated networks, by the names of their widths."""

import dataclasses
from collections.abc import Iterable

from qinit.errors import one_of
from qinit.quant.mixed import Mixed
from qinit.quant.quantizers import QUANTIZERS
from qinit.quant.scheme import parse_width
from qinit.quant.simulation import Simulation
from qinit.quant.weight_range import WEIGHT_CLIPS

FLOAT = "float"
MIXED = {"mixed": "chains", "mixed_layers": "layers"}  # rows of `mixed.PARTS`
# What they draw from, always in this order, so that the draws of a network
# do not hang on what else is asked for. One layer of 2 bits spoils a network.
_DRAWN = ("w8a8", "w4a8", "w4a4")


def simulations(
  names: Iterable[str],
  quantizer: str = "simquant",
  weight_clip: str = "absolute",
) -> dict[str, Simulation | Mixed | None]:
  """The quantisation that each name stands for.

  "float" is None; "w4a8" has 4-bit weights and 8-bit activations; "w2a2_noise"
  takes that row of QUANTIZERS in place of `quantizer`; "mixed" draws w8a8, w4a8
  or w4a4 for each chain of layers, "mixed_layers" for each layer.

  Raises:
    QinitError: for a name that is none of these.
  """
  one_of("quantizer", quantizer, QUANTIZERS)
  one_of("weight clip", weight_clip, WEIGHT_CLIPS)
  base = Simulation(quantizer=quantizer, weight_clip=weight_clip)
  return {name: _simulation(name, base) for name in names}


def _simulation(name, base):
  if name == FLOAT:
    return None
  if name in MIXED:
    ways = tuple(_simulation(n, base) for n in _DRAWN)
    return Mixed(ways, 0, MIXED[name])
  bits, _, own = name.partition("_")
  scheme = parse_width(name if bits == FLOAT else bits)
  return dataclasses.replace(
    base,
    weight_bits=scheme.weight_bits,
    activation_bits=scheme.activation_bits,
    quantizer=one_of("quantizer", own or base.quantizer, QUANTIZERS),
  )
