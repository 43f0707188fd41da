"""Sizes of a hypernetwork in bits, and what they cost a search.

Model bits: every matrix at its own width, all other weights at 32 bits.

Buffer bits: one vector of each kind that is stored, at its own width.
"""

import math

import tensorflow as tf

from qinit.ghn.config import GhnConfig
from qinit.ghn.weights import weight_shapes
from qinit.lpgnas.cost import logarithmic
from qinit.lpgnas.formats import parse
from qinit.lpgnas.hypernet import matrices, options, vectors
from qinit.lpgnas.space import Precision

_FLOAT = 32


def widths(precision: Precision) -> dict[str, int]:
  """Bits of each component."""
  return {name: parse(fmt).bits for name, fmt in precision.items()}


def model_bits(config: GhnConfig, bits: dict):
  """`bits` are numbers, or expectations as tensors; what is missing is in
  float."""
  shapes = weight_shapes(config).items()
  return sum(math.prod(s) * bits.get(name, _FLOAT) for name, s in shapes)


def buffer_bits(config: GhnConfig, bits: dict):
  """`bits` as in `model_bits`."""
  sizes = vectors(config).items()
  return sum(size * bits.get(name, _FLOAT) for name, size in sizes)


def expected(config: GhnConfig, probabilities: dict) -> dict[str, tf.Tensor]:
  """Expected bits of each component under probabilities of its options."""
  return {
    name: tf.reduce_sum(
      probabilities[name] * [float(parse(f).bits) for f in formats]
    )
    for name, formats in options(config).items()
  }


def mean_widths(config: GhnConfig, bits: dict) -> tuple[float, float]:
  """Mean bits of the matrices' entries and of the vectors'."""
  shapes, sizes = matrices(config), vectors(config)
  counts = {name: math.prod(shape) for name, shape in shapes.items()}
  weights, values = (
    sum(n * float(bits[name]) for name, n in part.items()) / sum(part.values())
    for part in (counts, sizes)
  )
  return weights, values


class Cost:
  """Differentiable cost of a search in [0, 1], that of `lpgnas.cost.Cost` with
  these sizes."""

  def __init__(self, config: GhnConfig, lam: float = 0.5):
    self.config, self.lam = config, lam
    formats = options(config).items()
    extremes = [
      widths({name: found[i] for name, found in formats}) for i in (0, -1)
    ]
    self.bounds = [
      [math.log(size(config, bits)) for bits in extremes]
      for size in (model_bits, buffer_bits)
    ]

  def __call__(self, probabilities: dict) -> tf.Tensor:
    """Under probabilities of the options of every component."""
    bits = expected(self.config, probabilities)
    sizes = [size(self.config, bits) for size in (model_bits, buffer_bits)]
    return logarithmic(sizes, self.bounds, self.lam)
