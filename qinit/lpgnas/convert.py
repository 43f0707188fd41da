"""From a trained network to its integers."""

import numpy as np

from qinit.lpgnas.integer_file import IntegerModel
from qinit.lpgnas.network import Inputs, forward, plans
from qinit.lpgnas.space import Architecture, Precision, param_shapes
from qinit.lpgnas.taps import Record


def convert(graph, arch: Architecture, precision: Precision, params: dict):
  """The integer model of trained parameters. Exponents of activations in
  `scaled` formats are those of an inference on `graph`."""
  tap = Record(precision)
  params = {name: np.asarray(value) for name, value in params.items()}
  forward(params, Inputs.of(graph), *plans(arch), tap)
  names = param_shapes(arch, graph.num_features, graph.num_classes)
  # A tensor of zeros alone has no exponent.
  fractions = {
    name: f if tap.codes[name].any() else 0 for name, f in tap.fractions.items()
  }
  return IntegerModel(
    arch,
    precision,
    graph.num_features,
    graph.num_classes,
    {name: tap.codes[name] for name in names},
    fractions,
  )
