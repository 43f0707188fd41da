"""The supernet: one set of weights that all networks of a space share.

Matrices are as wide as the widest network; a narrower one uses their first
rows and columns, so that a step costs what the sampled network costs. Each
attention has vectors of its own.

What a block aggregates is standardised, each channel over the nodes (Ioffe &
Szegedy, 2015, without scale and shift). Sums over the neighbours of a hub are
thousands of times as large as means: no matrix suits both, and the gradient of
the one drowns that of the other. A network trained alone needs nothing of it.
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

_EPSILON = 1e-6
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
  """

  def __init__(
    self, space: Space, num_features: int, num_classes: int, seed: int
  ):
    super().__init__(name="supernet")
    self.space = space
    shapes = _shapes(space, num_features, num_classes)
    self.variables_by_name = {
      name: tf.Variable(value, name=name)
      for name, value in initial_params(shapes, seed).items()
    }

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
    tap = _Standardised(Sampled(formats, precisions, taught))
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
        params[name] = variable[: widths[source], :out]
      elif kind == "bias":
        params[name] = variable[:out]
      else:
        params[name] = tf.gather(variable, plans[k - 1].attention)[:out]
    return params


class _Standardised:
  """A tap before which what is aggregated gets mean 0 and variance 1."""

  def __init__(self, tap):
    self.tap = tap

  def __call__(self, name, x):
    if name.endswith("/aggregate"):
      mean, variance = tf.nn.moments(x, [0])
      x = (x - mean) * tf.math.rsqrt(variance + _EPSILON)
    return self.tap(name, x)


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
