"""The precision of a hypernetwork itself.

Its components have formats of their own:

| components | formats | exponent |
|---|---|---|
| every matrix of its weights | ternary, scaled3 to scaled16 | the matrix' own |
| every kind of vector that it stores | scaled4 to scaled16 | calibrated |

Biases, LayerNorm and learned quantisation steps stay in float. The vectors are
a node's features, messages, states and embedding (the normalised state) and
the decoder's hidden layers; what is predicted is not rounded here, it has a
precision of its own. The exponents of vectors are those of a float
hypernetwork, so that they depend on no network at hand: what grows beyond them
saturates.
"""

from collections.abc import Iterable, Mapping

import tensorflow as tf

from qinit.errors import one_of
from qinit.ghn.config import GhnConfig
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.weights import weight_shapes
from qinit.graph.ops import Shape
from qinit.graph.spec import NetSpec
from qinit.lpgnas.formats import Format, parse
from qinit.lpgnas.quantise import exp2, exponent_above, quantise_one_of
from qinit.lpgnas.space import Precision

WEIGHT_FORMATS = (
  "ternary",
  "scaled3",
  "scaled4",
  "scaled6",
  "scaled8",
  "scaled16",
)
VECTOR_FORMATS = ("scaled4", "scaled6", "scaled8", "scaled12", "scaled16")
# These never leave the sweep, where they are rounded.
_SWEPT = ("states", "messages")


def matrices(config: GhnConfig) -> dict[str, Shape]:
  """Shapes of the weights that have a format."""
  return {
    name: shape
    for name, shape in weight_shapes(config).items()
    if len(shape) > 1 and not name.endswith(".bias") and name != "step.kernels"
  }


def vectors(config: GhnConfig) -> dict[str, int]:
  """Entries of each kind of vector that has a format: of a node, of a kernel
  position (decoder.fc, decoder.conv), of a row of the last layer's mixture
  (decoder.class)."""
  hid = config.hid
  swept = {"messages": hid * (1 + (config.virtual_edge > 1)), "states": hid}
  return {
    "features": hid,
    **(swept if config.hypernet == "gatedgnn" else {}),
    "embeddings": hid,
    "decoder.fc": 4 * hid,
    "decoder.conv": 8 * hid,
    "decoder.class": config.max_channels,
    "decoder_1d": 2 * hid,
  }


def options(config: GhnConfig) -> dict[str, tuple[str, ...]]:
  """The formats that each component may have."""
  weights = dict.fromkeys(matrices(config), WEIGHT_FORMATS)
  return weights | dict.fromkeys(vectors(config), VECTOR_FORMATS)


def uniform(config: GhnConfig, weight: str, vector: str) -> Precision:
  """One format for all matrices and one for all vectors."""
  weights = dict.fromkeys(matrices(config), weight)
  return weights | dict.fromkeys(vectors(config), vector)


def exponents(ghn: HyperNet, specs: Iterable[NetSpec]) -> dict[str, int]:
  """For each kind of vector the least e with |x| < 2^e in all predictions."""
  observer = _Observer(ghn.config, ghn.weights)
  for spec in specs:
    observer.predict(spec)
  return {n: int(exponent_above(x)) for n, x in observer.largest.items()}


class Rounded(HyperNet):
  """A hypernetwork that stores its vectors in low precision.

  Attributes:
    exponents: of each kind of vector, see `exponents`.
    choices: for each component a one-hot over its options. Variables: another
      choice traces nothing anew.
  """

  def __init__(
    self, config: GhnConfig, weights: dict, exponents: Mapping[str, int]
  ):
    super().__init__(config, weights)
    self.exponents = dict(exponents)
    self.choices = {
      name: tf.Variable(tf.one_hot(len(formats) - 1, len(formats)))
      for name, formats in self.formats().items()
    }

  def formats(self) -> dict[str, tuple[str, ...]]:
    """What each component may have, the widest at last."""
    return dict.fromkeys(vectors(self.config), VECTOR_FORMATS)

  @property
  def precision(self) -> Precision:
    """The formats that are chosen."""
    return {
      name: formats[int(tf.argmax(self.choices[name]))]
      for name, formats in self.formats().items()
    }

  @precision.setter
  def precision(self, precision: Precision) -> None:
    for name, formats in self.formats().items():
      chosen = one_of(f"format of {name}", precision[name], formats)
      one_hot = tf.one_hot(formats.index(chosen), len(formats))
      self.choices[name].assign(one_hot)

  def cell(self, weights):
    grids = {name: self._grids(name) for name in _SWEPT}
    return super().cell(weights) | {"grids": grids}

  def tap(self, name, x):
    if name in _SWEPT:
      return x
    return quantise_one_of(x, self._fixed(name), self.choices[name])

  def _fixed(self, name):
    """A given exponent e makes scaledN the fixed point of N - 1 - e bits
    behind the point."""
    widths = (parse(n).bits for n in VECTOR_FORMATS)
    return tuple(Format("fix", n, n - 1 - self.exponents[name]) for n in widths)

  def _grids(self, name):
    """As `ghn.rounding.round_to_one_of` takes them."""
    formats = self._fixed(name)
    steps = exp2(tf.constant([-f.frac for f in formats]))
    halves = exp2(tf.constant([f.bits - 1 for f in formats]))
    return tf.stack([tf.convert_to_tensor(self.choices[name]), steps, halves])


class Searched(Rounded):
  """A hypernetwork that computes with weights in low precision, too; the
  weights themselves are kept in float, so that they can learn."""

  @property
  def learned(self) -> list[tf.Variable]:
    """The weights, then the choices."""
    return [*super().learned, *self.choices.values()]

  def formats(self):
    return options(self.config)

  def read(self):
    formats = tuple(map(parse, WEIGHT_FORMATS))
    return {
      name: quantise_one_of(
        tf.convert_to_tensor(w), formats, self.choices[name]
      )
      if name in self.choices
      else w
      for name, w in self.weights.items()
    }


class _Observer(HyperNet):
  """Notes the largest absolute value of each kind of vector."""

  def __init__(self, config, weights):
    super().__init__(config, weights)
    self.largest = {name: tf.Variable(0.0) for name in vectors(config)}

  def tap(self, name, x):
    largest = self.largest[name]
    largest.assign(tf.maximum(largest, tf.reduce_max(tf.abs(x))))
    return x
