"""The search: one round in which weights, architecture and precision are
learnt by back-propagation, after LPGNAS.

| epoch | architectures | formats |
|---|---|---|
| below Ka | uniformly at random | none |
| from Ka | the controller's, which learns | uniformly at random |
| from Kq | the controller's, which learns | the controller's, which learns |

Each epoch samples one network for a step of the weights on the training
nodes, and from Ka on one for a step of the controllers on the validation
nodes with the loss CE + beta C. Single-level, one step on the training nodes
teaches both. Precision learns from <dL/dy, y_k> for every format k, the
architecture from a linear model of the errors of what was sampled (`critic`),
which a few more networks teach on the validation nodes: of networks that share
their weights the errors rank as those of the same networks trained alone, the
cross-entropies hardly.
The derived network takes the likeliest option everywhere.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tf_keras

from qinit.errors import QinitError, one_of
from qinit.lpgnas import cost
from qinit.lpgnas.controllers import (
  Controller,
  entropy,
  probabilities,
  sample,
)
from qinit.lpgnas.critic import Critic
from qinit.lpgnas.network import Inputs
from qinit.lpgnas.resume import Loop, Progress, finite
from qinit.lpgnas.space import Architecture, Precision, Space
from qinit.lpgnas.supernet import Supernet
from qinit.lpgnas.training import cross_entropy, dropout, error_loss

# Noise of the networks that are drawn in the end.
_LOUD = 2.0
# Networks beside the one of the controllers' step whose errors the critic hears
# of in an epoch: a forward pass each.
_PROBES = 3
# Training nodes whose mean features the controllers see.
_SEEN = 512


@dataclasses.dataclass(frozen=True)
class SearchConfig:
  """Settings of a search; those of the paper are not known.

  Attributes:
    beta: weight of the cost C.
    warm_architecture, warm_precision: Ka and Kq as shares of the epochs.
    single_level: whether the controllers learn from the training nodes, in
      the weights' own steps.
    controller: "network" sees the graph's features and, for the precision,
      the architecture; "logits" is free of both.
    temperatures: of the Gumbel softmax, first and last, geometric between.
    noise: of the Gumbel variables; falls to 0 at four fifths of the epochs.
  """

  space: Space = dataclasses.field(default_factory=Space)
  beta: float = 0.1
  epochs: int = 300
  warm_architecture: float = 1 / 6
  warm_precision: float = 1 / 3
  single_level: bool = False
  controller: str = "network"
  learning_rate: float = 5e-3
  controller_rate: float = 1e-3
  weight_decay: float = 5e-4
  dropout: float = 0.5
  temperatures: tuple[float, float] = (5.0, 0.5)
  noise: float = 1.0
  seed: int = 0

  def __post_init__(self):
    one_of("controller", self.controller, ("network", "logits"))
    if not 0 <= self.warm_architecture <= self.warm_precision <= 1:
      raise QinitError(
        "warm-up of the architecture ends before the precision's"
      )
    if self.beta < 0:
      raise QinitError(f"beta must be 0 or more, not {self.beta}")

  def schedule(self, epoch: int) -> tuple[float, float]:
    """Temperature and noise of the sampling."""
    start, end = self.temperatures
    share = epoch / self.epochs
    noise = self.noise * max(0.0, 1 - share / 0.8)
    return start * (end / start) ** share, noise

  @property
  def phases(self) -> tuple[int, int]:
    """Ka and Kq in epochs."""
    return (
      round(self.warm_architecture * self.epochs),
      round(self.warm_precision * self.epochs),
    )

  @property
  def steps(self) -> int:
    """What a search costs, in training steps; three forward passes are one."""
    taught = self.epochs - self.phases[0]
    return self.epochs + taught * (3 + _PROBES) // 3


@dataclasses.dataclass(frozen=True)
class Derived:
  """The likeliest network, and how the search ended."""

  arch: Architecture
  precision: Precision
  entropies: tuple[float, float]


class Search:
  """The state of one search on one graph."""

  def __init__(self, graph, config: SearchConfig):
    self.graph, self.config, space = graph, config, config.space
    self.inputs = Inputs.of(graph)
    self.supernet = Supernet(
      space,
      graph.num_features,
      graph.num_classes,
      config.seed,
    )
    self.seen = self._features_seen()
    sizes = {name: len(o) for name, o in space.decisions().items()}
    widths = {name: len(o) for name, o in space.precisions().items()}
    network, n = config.controller == "network", len(self.seen)
    self.architecture = Controller(
      "architecture", sizes, n, network, config.seed
    )
    self.precision = Controller(
      "precision", widths, n + sum(sizes.values()), network, config.seed + 1
    )
    self.critic = Critic(sizes, math.log(graph.num_classes))
    self.cost = cost.Cost(space, cost.GraphSize.of(graph))
    self.parts: dict[str, tf.Module] = {
      "weights": self.supernet,
      "architecture": self.architecture,
      "precision": self.precision,
    }
    rates = (config.learning_rate, *[config.controller_rate] * 2)
    self.optimizers = {
      part: _adam(rate, module)
      for rate, (part, module) in zip(rates, self.parts.items(), strict=True)
    }

  def run(self, folder: str | None = None, report=None) -> Derived:
    """Searches, or goes on where `folder` stands.

    Raises:
      FloatingPointError: if the loss is not finite.
      CheckpointError: if the checkpoint in `folder` is damaged.
    """
    epochs = self.config.epochs
    state = dict(parts=self.parts, optimizers=self.optimizers)
    loop = Loop(folder, epochs, 25, critic=self.critic, **state)
    for epoch in loop:
      loss, accuracy = self.step(epoch)
      if (epoch + 1) % 10 == 0 or epoch + 1 == epochs:
        loss = finite(loss, "the search")
        if report:
          note = self._note()
          report(Progress(epoch, epochs, loss, 100 * float(accuracy), note))
    return self.derive()

  def step(self, epoch: int):
    """All that one epoch does; returns loss and accuracy, of the validation
    nodes where the controllers see them."""
    ka, kq = self.config.phases
    schedule = (
      *map(tf.constant, self.config.schedule(epoch)),
      tf.constant([epoch >= ka, epoch >= kq]),
    )
    seed, quantised = self.config.seed, epoch >= ka
    both = self.config.single_level and quantised
    nodes = tf.constant(self.graph.train)
    which = "both" if both else "weights"
    found = self._step(
      nodes, *schedule, tf.constant([2 * seed, epoch]), which, quantised
    )
    if both or not quantised:
      return found
    nodes = tf.constant(self.graph.val)
    odd, *more = (
      tf.constant([2 * seed + 1, epoch + i * self.config.epochs])
      for i in range(1 + _PROBES)
    )
    for probe in more:
      self._probe(nodes, *schedule, probe)
    return self._step(nodes, *schedule, odd, "controllers", True)

  @tf.function(autograph=False)
  def _probe(self, nodes, tau, noise, learns, seed):
    """The critic hears of one more sampled network."""
    _, (decisions, precisions) = self.sampled(tau, noise, learns, seed)
    found, _ = self.supernet(
      self.inputs, decisions, precisions, dropout(0.0, seed), False
    )
    _, accuracy = cross_entropy(found, self.graph.labels, nodes)
    self._teach_critic(decisions, accuracy)

  def _teach_critic(self, decisions, accuracy):
    error = error_loss(accuracy, self.graph.num_classes)
    self.critic.learn(decisions, error)

  @tf.function(autograph=False, reduce_retracing=True)
  def _step(self, nodes, tau, noise, learns, seed, which: str, quantised: bool):
    """One sampled network, forward and back, and a step of what `which`
    names: "weights", "controllers" or "both"."""
    parts = _PARTS[which]
    rate = self.config.dropout if which != "controllers" else 0.0
    with tf.GradientTape() as tape:
      logits, (decisions, precisions) = self.sampled(
        tau, noise, learns, seed, quantised
      )
      drop = dropout(rate, seed)
      taught = which != "weights"
      found, norm = self.supernet(
        self.inputs, decisions, precisions, drop, taught
      )
      loss, accuracy = cross_entropy(found, self.graph.labels, nodes)
      total = loss
      if which != "controllers":
        total += self.config.weight_decay * norm
      if taught:
        self._teach_critic(decisions, accuracy)
        p, formats = map(probabilities, logits)
        total += self.critic.expected(p) + self.config.beta * self.cost(
          p, formats
        )
    variables = [list(self.parts[p].trainable_variables) for p in parts]
    gradients = tape.gradient(total, variables, unconnected_gradients="zero")
    for part, gradient in zip(parts, gradients, strict=True):
      self._apply(part, gradient, learns)
    return loss, accuracy

  def sampled(self, tau, noise, learns, seed, quantised=True):
    """Logits and one-hots, each of the architecture and of the precision;
    what does not learn yet is uniform. No precision if not `quantised`."""
    active = tf.cast(learns, tf.float32)

    def draw(logits, i):
      loud = active[i] * noise + 1 - active[i]
      return {
        name: sample(
          active[i] * x, tau, loud, seed + tf.constant([0, (j + 1) << 20])
        )
        for j, (name, x) in enumerate(logits.items(), 100 * i)
      }

    logits = self.architecture(self.seen)
    decisions = draw(logits, 0)
    known = tf.concat([self.seen, *decisions.values()], 0)
    # The architecture does not answer for what the precision makes of it.
    formats = self.precision(tf.stop_gradient(known))
    precisions = draw(formats, 1) if quantised else {}
    return (logits, formats), (decisions, precisions)

  def likeliest(self):
    """Logits of the architecture, and of the precision of its mode."""
    logits = self.architecture(self.seen)
    marks = [tf.one_hot(tf.argmax(x), x.shape[0]) for x in logits.values()]
    return logits, self.precision(tf.concat([self.seen, *marks], 0))

  def derive(self) -> Derived:
    """The likeliest architecture, and the likeliest precision for it."""
    logits, formats = self.likeliest()
    arch, precision = self._network(logits, formats)
    entropies = float(entropy(logits)), float(entropy(formats))
    return Derived(arch, precision, entropies)

  def drawn(self, count: int) -> list[tuple[Architecture, Precision]]:
    """Networks sampled from what the controllers say, with twice the noise: in
    the end they are so sure that most draws would be alike."""
    learns, found = tf.constant([True, True]), []
    for i in range(count):
      seed = tf.constant([2 * self.config.seed, self.config.epochs + i])
      _, marks = self.sampled(1.0, _LOUD, learns, seed)
      found.append(self._network(*marks))
    return found

  def _network(self, decisions, precisions):
    """Of the largest entries, of logits or of one-hots."""
    space = self.config.space
    chosen = _likeliest(space.decisions(), decisions)
    return space.architecture(chosen), _likeliest(
      space.precisions(), precisions
    )

  def _apply(self, part, gradients, learns):
    """A step of the optimiser of `part`, if that learns yet."""
    variables = self.parts[part].trainable_variables

    def step():
      pairs = zip(gradients, variables, strict=True)
      self.optimizers[part].apply_gradients(pairs)
      return True

    if part == "weights":
      step()
    else:
      index = 0 if part == "architecture" else 1
      tf.cond(learns[index], step, lambda: False)

  def _features_seen(self):
    rng = np.random.default_rng(self.config.seed)
    nodes = rng.permutation(self.graph.train)[:_SEEN]
    mean = self.graph.mean_features(nodes)
    return tf.constant(mean / max(1e-6, np.linalg.norm(mean)))

  def _note(self):
    logits, formats = self.likeliest()
    widths = [
      float(cost.mean_bits(self.config.space, probabilities(formats), role))
      for role in ("weight", "activation")
    ]
    return (
      f"entropy {float(entropy(logits)):.2f} of the architecture,"
      f" {float(entropy(formats)):.2f} of the precision, expected bits"
      f" W {widths[0]:.1f} A {widths[1]:.1f}"
    )


_PARTS = {
  "weights": ("weights",),
  "controllers": ("architecture", "precision"),
  "both": ("weights", "architecture", "precision"),
}


def _adam(rate, module):
  optimizer = tf_keras.optimizers.Adam(rate)
  optimizer.build(list(module.trainable_variables))
  return optimizer


def _likeliest(options, logits):
  return {name: options[name][int(tf.argmax(logits[name]))] for name in options}
