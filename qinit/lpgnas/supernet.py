"""The supernet: one set of weights that all networks of a space share.

Matrices are as wide as the widest network; a narrower one uses their first
rows and columns, so that a step costs what the sampled network costs. Each
attention has vectors of its own.

Matrices are shared up to a factor of each attention and aggregation, and of
each activation that is read. Sums over neighbours are several times as large as
means: without a factor those options of which the matrices were just trained
look best, whatever they are worth. A network trained alone needs none.
"""

import math
import zlib

import numpy as np
import tensorflow as tf

from qinit.lpgnas.network import Inputs, Plan, forward
from qinit.lpgnas.space import (
  ACTIVATIONS,
  AGGREGATIONS,
  ATTENTIONS,
  Architecture,
  Block,
  Space,
  param_shapes,
  skip_name,
)
from qinit.lpgnas.taps import Sampled

_TABLES = {
  "attention": ATTENTIONS,
  "aggregation": AGGREGATIONS,
  "activation": ACTIVATIONS,
}


def initial_params(shapes: dict, seed: int) -> dict[str, np.ndarray]:
  """Glorot uniform, each parameter from a seed of its own name; biases 0."""
  params = {}
  for name, shape in shapes.items():
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    fans = shape if len(shape) == 2 and "weight" in name else (shape[-1], 1)
    bound = 0.0 if name.endswith("bias") else math.sqrt(6 / sum(fans))
    params[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
  return params


def l2(values) -> tf.Tensor:
  """Half the squared norm of some tensors."""
  return tf.add_n([tf.nn.l2_loss(value) for value in values])


class Supernet(tf.Module):
  """Variables of the largest network, and a forward pass of a sampled one.

  Attributes:
    variables_by_name: as `space.param_shapes`, vectors [attentions, hidden].
    gains: logarithms of the factors by block [attentions, aggregations].
    read_gains: the same by block that is read [activations].

  Args:
    mean_degree: of the graph, for the factors' first values.
  """

  def __init__(
    self,
    space: Space,
    num_features: int,
    num_classes: int,
    seed: int,
    mean_degree: float,
  ):
    super().__init__(name="supernet")
    self.space = space
    shapes = _shapes(space, num_features, num_classes)
    self.variables_by_name = {
      name: tf.Variable(value, name=name)
      for name, value in initial_params(shapes, seed).items()
    }
    blocks, level = range(space.blocks), _level_gains(mean_degree)
    self.gains = [tf.Variable(level) for _ in blocks]
    self.read_gains = [tf.Variable(tf.zeros(len(ACTIVATIONS))) for _ in blocks]

  def __call__(
    self,
    inputs: Inputs,
    decisions: dict,
    precisions: dict,
    dropout,
    taught: bool = True,
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits [N, classes] and half the squared norm of the weights used.

    Args:
      decisions: a one-hot for each decision.
      precisions: a one-hot for each tensor; empty for a float pass.
      taught: whether the one-hots of the precisions need gradients.
    """
    n = self.space.blocks
    plans = [self._plan(decisions, k) for k in range(1, n + 1)]
    skips = self._skips(decisions, n + 1)
    params = self._view(plans)
    formats = self.space.precisions() if precisions else {}
    tap = Sampled(formats, precisions, taught)
    logits = forward(params, inputs, plans, skips, tap, dropout)
    return logits, l2(params.values())

  def _plan(self, decisions, k):
    options = self.space.decisions()

    def chosen(part):
      name = f"block{k}/{part}"
      table = _TABLES.get(part)
      values = [table.index(o) if table else o for o in options[name]]
      return _value(values, decisions[name])

    parts = ("attention", "aggregation", "activation", "heads", "hidden")
    return Plan(*map(chosen, parts), skips=self._skips(decisions, k))

  def _skips(self, decisions, reader):
    return {
      s: _value([0, 1], decisions[skip_name(s, r)])
      for s, r in self.space.skips()
      if r == reader
    }

  def _view(self, plans):
    """The part of each variable that the sampled network uses."""
    widths = [None, *(plan.hidden for plan in plans)]
    params = {}
    for name, variable in self.variables_by_name.items():
      part, kind = name.split("/")
      k = 0 if part == "output" else int(part.removeprefix("block"))
      out = widths[k] if k else None
      if kind.startswith("weight"):
        source = int(kind.removeprefix("weight"))
        factor = tf.exp(self._gain(plans, source, k))
        params[name] = factor * variable[: widths[source], :out]
      elif kind == "bias":
        params[name] = variable[:out]
      else:
        params[name] = tf.gather(variable, plans[k - 1].attention)[:out]
    return params

  def _gain(self, plans, source, k):
    """The logarithm of a matrix' own factor: of what block k does with its
    outputs, and of the activation that made its inputs."""
    gain = tf.constant(0.0)
    if k:
      own = tf.gather(self.gains[k - 1], plans[k - 1].attention)
      gain += tf.gather(own, plans[k - 1].aggregation)
    if source:
      activation = plans[source - 1].activation
      gain += tf.gather(self.read_gains[source - 1], activation)
    return gain


def _level_gains(mean_degree: float) -> np.ndarray:
  """log of what brings every attention [A] and aggregation [B] to the size of
  its input: const's coefficients add up to the degree, all others' to about 1;
  of the sum the mean, and about the maximum, are one part in the degree."""
  total = np.array([mean_degree if a == "const" else 1.0 for a in ATTENTIONS])
  share = np.array([1.0 if a == "sum" else mean_degree for a in AGGREGATIONS])
  return np.log(share / total[:, None]).astype(np.float32)


def _value(values, one_hot):
  """The marked value, Python's own where there is no choice."""
  if len(values) == 1:
    return values[0]
  return tf.gather(tf.constant(values), tf.argmax(one_hot))


def _shapes(space, num_features, num_classes):
  """Of the network with every connection, and vectors for each attention."""
  n, widest = space.blocks, max(space.hidden)
  widest = Architecture(
    tuple(
      Block("generalized_linear", "sum", "none", 1, widest, _all(space, k))
      for k in range(1, n + 1)
    ),
    _all(space, n + 1),
  )
  shapes = param_shapes(widest, num_features, num_classes)
  return {
    name: (len(ATTENTIONS), *shape)
    if name.endswith(("left", "right", "mix"))
    else shape
    for name, shape in shapes.items()
  }


def _all(space, reader):
  return tuple(s for s, r in space.skips() if r == reader)
