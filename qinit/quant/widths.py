"""The quantisations of simulated networks, by the names of their widths."""

import dataclasses
from collections.abc import Iterable

from qinit.errors import QinitError, one_of
from qinit.quant.mixed import Mixed
from qinit.quant.quantizers import QUANTIZERS
from qinit.quant.scheme import parse_width
from qinit.quant.simulation import Simulation
from qinit.quant.weight_range import WEIGHT_CLIPS

FLOAT, MIXED = "float", "mixed"


def simulations(
  names: Iterable[str],
  quantizer: str = "simquant",
  weight_clip: str = "absolute",
) -> dict[str, Simulation | Mixed | None]:
  """The quantisation that each name stands for.

  "float" is None; "w4a8" has 4-bit weights and 8-bit activations; "w2a2_noise"
  takes that row of QUANTIZERS in place of `quantizer`; "mixed" draws, for each
  chain of layers, one of the other widths that keep to `quantizer`, but "w2a2":
  one such layer spoils a network.

  Raises:
    QinitError: for a name that is none of these, and for "mixed" with nothing
      to draw from.
  """
  one_of("quantizer", quantizer, QUANTIZERS)
  one_of("weight clip", weight_clip, WEIGHT_CLIPS)
  base = Simulation(quantizer=quantizer, weight_clip=weight_clip)
  names = tuple(names)
  found = {name: _simulation(name, base) for name in names if name != MIXED}
  if MIXED in names:
    drawn = tuple(
      way
      for name, way in found.items()
      if way and way.quantizer == quantizer and name != "w2a2"
    )
    if not drawn:
      raise QinitError("mixed needs widths to draw from in --bits")
    found[MIXED] = Mixed(drawn, seed=0)
  return found


def _simulation(name, base):
  if name == FLOAT:
    return None
  bits, _, own = name.partition("_")
  scheme = parse_width(name if bits == FLOAT else bits)
  return dataclasses.replace(
    base,
    weight_bits=scheme.weight_bits,
    activation_bits=scheme.activation_bits,
    quantizer=one_of("quantizer", own or base.quantizer, QUANTIZERS),
  )
