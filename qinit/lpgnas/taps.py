"""What a network's tensors pass through: their formats."""

import numpy as np
import tensorflow as tf

from qinit.lpgnas.formats import parse
from qinit.lpgnas.quantise import exp2, quantise, quantise_one_of, split
from qinit.lpgnas.space import Precision, format_of, tensor_of


class Quantise:
  """Every tensor in its format."""

  def __init__(self, precision: Precision):
    self.precision = precision

  def __call__(self, name: str, x: tf.Tensor) -> tf.Tensor:
    return quantise(x, format_of(self.precision, name))


class Record:
  """Quantises, and keeps codes (int64) and f of everything by name: what an
  export is made from. For eager use."""

  def __init__(self, precision: Precision):
    self.precision = precision
    self.codes: dict[str, np.ndarray] = {}
    self.fractions: dict[str, int] = {}

  def __call__(self, name, x):
    codes, f = split(x, format_of(self.precision, name))
    self.codes[name] = codes.numpy().astype("int64")
    self.fractions[name] = int(f)
    return codes * exp2(-f)


class Sampled:
  """The supernet's: each tensor in the one format that its one-hot marks.

  Args:
    formats: options by the name of the tensor, empty for a float pass.
    one_hots: [K] for each of `formats`.
    taught: whether a gradient to the one-hots is wanted.
  """

  def __init__(self, formats: dict, one_hots: dict, taught: bool = True):
    self.formats, self.one_hots, self.taught = formats, one_hots, taught

  def __call__(self, name, x):
    if not self.formats:
      return x
    tensor = name if name in self.formats else tensor_of(name)
    if name.endswith("/score") or tensor is None:
      return quantise(x, format_of({}, name))
    options = tuple(parse(option) for option in self.formats[tensor])
    if len(options) == 1:
      return quantise(x, options[0])
    one_hot = self.one_hots[tensor]
    return quantise_one_of(x, options, one_hot, self.taught)
