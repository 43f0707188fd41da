"""What a searched network is compared with, trained in the same way."""

import dataclasses

import numpy as np
import tensorflow as tf
import tf_keras

from qinit.lpgnas import cost, finals
from qinit.lpgnas.formats import parse
from qinit.lpgnas.network import Inputs, forward, plans
from qinit.lpgnas.quantise import quantise
from qinit.lpgnas.resume import Loop, Progress, finite
from qinit.lpgnas.search import SearchConfig
from qinit.lpgnas.space import (
  Architecture,
  Block,
  Precision,
  Space,
  format_of,
  param_shapes,
  tensor_of,
  tensors,
  uniform,
)
from qinit.lpgnas.supernet import initial_params, l2
from qinit.lpgnas.training import (
  Report,
  TrainConfig,
  cross_entropy,
  dropout,
)

_HIDDEN = 64


def _blocks(*kinds):
  return tuple(Block(*kind, hidden=_HIDDEN) for kind in kinds)


# In the blocks of the search space, 64 channels wide. GraphSAGE is its mean
# aggregator in the GCN variant, where a node's own state is one of those that
# are averaged; JKNet concatenates the outputs of three blocks.
ARCHITECTURES = {
  "gcn": Architecture(
    _blocks(("gcn", "sum", "relu", 1), ("gcn", "sum", "none", 1))
  ),
  "gat": Architecture(
    _blocks(("gat", "sum", "elu", 8), ("gat", "sum", "none", 1))
  ),
  "sage": Architecture(
    _blocks(("const", "mean", "relu", 1), ("const", "mean", "none", 1))
  ),
  "jknet": Architecture(
    (
      *_blocks(*[("gcn", "sum", "relu", 1)] * 2),
      *_blocks(("gcn", "sum", "relu", 1)),
    ),
    skips=(1, 2),
  ),
}

# Weights, activations, attention coefficients.
UNIFORM = {
  "w8a8_fixed": ("fix1.7", "fix4.4", "fix1.7"),
  "w4a8_fixed": ("fix1.3", "fix4.4", "fix1.7"),
  "w4a4_fixed": ("fix1.3", "fix2.2", "fix1.3"),
  "w8a8_scaled": ("scaled8", "scaled8", "fix1.7"),
  "w4a8_scaled": ("scaled4", "scaled8", "fix1.7"),
  "w4a4_scaled": ("scaled4", "scaled4", "fix1.3"),
}


def uniform_precision(name: str, arch: Architecture) -> Precision:
  """One row of UNIFORM for every tensor of a network."""
  return uniform(len(arch.blocks), *UNIFORM[name])


def w4a8_space(space: Space) -> Space:
  """The same architectures, every precision fixed."""
  roles = ("weight", "activation", "coefficient")
  formats = ((name,) for name in UNIFORM["w4a8_scaled"])
  return dataclasses.replace(
    space, by_role=tuple(zip(roles, formats, strict=True))
  )


def random_search(
  graph,
  config: SearchConfig,
  train: TrainConfig,
  steps: int,
  candidates: int = 10,
  folder: str | None = None,
  report: Report | None = None,
) -> tuple[Architecture, Precision]:
  """The best of some networks drawn uniformly, by the search's own objective.
  All of them together are trained for `steps`."""
  rng = np.random.default_rng(config.seed)
  drawn = [draw(config.space, rng) for _ in range(candidates)]
  epochs = steps // candidates
  return finals.best(graph, drawn, config, train, epochs, folder, report)


def draw(space: Space, rng) -> tuple[Architecture, Precision]:
  """A network of the space, every option equally likely."""

  def pick(options):
    return {n: o[rng.integers(len(o))] for n, o in options.items()}

  return space.architecture(pick(space.decisions())), pick(space.precisions())


class MixedBits:
  """Bit search in the style of MixQ-GNN (Moustafa et al.): each tensor of a
  given network is the mixture of its 2-, 4- and 8-bit forms under a softmax,
  learnt with the weights from CE + lambda C; the likeliest widths are kept.

  Departures: symmetric power-of-two scales instead of affine ranges, and C is
  the log-size of our own searches.
  """

  FORMATS = ("scaled2", "scaled4", "scaled8")
  COEFFICIENTS = ("fix1.1", "fix1.3", "fix1.7")

  def __init__(self, graph, arch: Architecture, config: TrainConfig, lam=0.1):
    self.graph, self.arch, self.config, self.lam = graph, arch, config, lam
    self.inputs = Inputs.of(graph)
    shapes = param_shapes(arch, graph.num_features, graph.num_classes)
    start = initial_params(shapes, config.seed)
    self.params = {name: tf.Variable(value) for name, value in start.items()}
    self.options = {
      name: self.COEFFICIENTS if role == "coefficient" else self.FORMATS
      for name, role in tensors(len(arch.blocks)).items()
    }
    self.logits = {name: tf.Variable(tf.zeros(3)) for name in self.options}
    self.optimizer = tf_keras.optimizers.Adam(config.learning_rate)
    self.optimizer.build([*self.params.values(), *self.logits.values()])

  def run(
    self, folder: str | None = None, report: Report | None = None
  ) -> Precision:
    """The widths learnt in `config.epochs` epochs; goes on where `folder`
    stands.

    Raises:
      FloatingPointError: if the loss is not finite.
      CheckpointError: if the checkpoint in `folder` is damaged.
    """
    state = dict(params=self.params, logits=self.logits)
    epochs, every = self.config.epochs, self.config.every
    loop = Loop(folder, epochs, 10 * every, **state, optimizer=self.optimizer)
    for epoch in loop:
      loss, right = self._step(tf.constant([self.config.seed, epoch]))
      if (epoch + 1) % every == 0 or epoch + 1 == epochs:
        loss = finite(loss, "the search of widths")
        if report:
          report(Progress(epoch, epochs, loss, 100 * float(right)))
    return {
      name: options[int(tf.argmax(self.logits[name]))]
      for name, options in self.options.items()
    }

  def __call__(self, name, x):
    tensor = name if name in self.options else tensor_of(name)
    if name.endswith("/score") or tensor is None:
      return quantise(x, format_of({}, name))
    shares = tf.unstack(tf.nn.softmax(self.logits[tensor]))
    forms = [quantise(x, parse(f)) for f in self.options[tensor]]
    return tf.add_n([p * y for p, y in zip(shares, forms, strict=True)])

  @tf.function(autograph=False)
  def _step(self, seed):
    with tf.GradientTape() as tape:
      drop = dropout(self.config.dropout, seed)
      found = forward(self.params, self.inputs, *plans(self.arch), self, drop)
      loss, right = cross_entropy(found, self.graph.labels, self.graph.train)
      loss += self.config.weight_decay * l2(self.params.values())
      loss += self.lam * self._cost()
    variables = [*self.params.values(), *self.logits.values()]
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return loss, right

  def _cost(self):
    """log2 of the expected model and buffer bits over those at 8 bits."""
    bits = {
      name: tf.reduce_sum(tf.nn.softmax(x) * [2.0, 4.0, 8.0])
      for name, x in self.logits.items()
    }
    full = cost.sizes(self.arch, dict.fromkeys(self.options, "scaled8"))
    size = cost.GraphSize.of(self.graph)
    return tf.add_n(
      [
        tf.math.log(f(full._replace(bits=bits), size) / f(full, size))
        for f in (cost.model_bits, cost.buffer_bits)
      ]
    ) / tf.math.log(2.0)
