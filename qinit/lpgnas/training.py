"""Trains a given network, float or in low precision, from scratch."""

import dataclasses
import math
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras

from qinit.lpgnas.network import Inputs, forward, no_tap, plans
from qinit.lpgnas.resume import Loop, Progress, finite
from qinit.lpgnas.space import Architecture, param_shapes
from qinit.lpgnas.supernet import initial_params, l2

Report = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """Full-batch Adam, as is usual for these graphs.

  Attributes:
    float_share: share of the epochs before the formats act.
    every: epochs between two evaluations, reports and checkpoints.
  """

  epochs: int = 300
  learning_rate: float = 5e-3
  weight_decay: float = 5e-4
  dropout: float = 0.7
  float_share: float = 0.2
  every: int = 5
  seed: int = 0


@dataclasses.dataclass(frozen=True)
class Trained:
  """Parameters of the epoch best on the validation nodes (with the formats
  acting, if there are any), and accuracies in percent with them."""

  params: dict[str, np.ndarray]
  val_accuracy: float
  test_accuracy: float


def dropout(rate: float, seed) -> Callable:
  """dropout(name, x), another draw for every name and `seed` [2]."""

  def drop(name, x):
    own = tf.stack([seed[0] + zlib.crc32(name.encode()) % 2**30, seed[1]])
    return tf.nn.experimental.stateless_dropout(x, rate, own)

  return drop if rate else lambda name, x: x


def cross_entropy(logits, labels, nodes):
  """Mean over some nodes, and the share of them that is right."""
  logits, labels = tf.gather(logits, nodes), tf.gather(labels, nodes)
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
  hits = tf.argmax(logits, -1, labels.dtype) == labels
  return tf.reduce_mean(losses), tf.reduce_mean(tf.cast(hits, tf.float32))


def error_loss(accuracy, classes: int):
  """The share of errors times what makes it ln K at chance among K classes.

  It stands in for the cross-entropy where networks are compared: that says as
  much of how sure a network is of itself as of how often it is right.
  """
  return (1 - accuracy) * math.log(classes) / (1 - 1 / classes)


class Trainer:
  """The state of one training.

  Args:
    tap: the formats, from `taps`; None for a float network.
    noisy: the tap of a training step as a function of its seed [2], where
      that is another.
  """

  def __init__(
    self, graph, arch: Architecture, config: TrainConfig, tap=None, noisy=None
  ):
    self.graph, self.arch, self.config = graph, arch, config
    self.inputs = Inputs.of(graph)
    self.tap = tap or no_tap
    self.noisy = noisy or (lambda seed: self.tap)
    shapes = param_shapes(arch, graph.num_features, graph.num_classes)
    start = initial_params(shapes, config.seed)
    self.params = {n: tf.Variable(v, name=n) for n, v in start.items()}
    self.best = {n: tf.Variable(v, name=n) for n, v in start.items()}
    # Accuracy and minus the loss where it is best, to the digit: ties count.
    self.scores = tf.Variable([-1.0, 0.0], dtype=tf.float64)
    self.optimizer = tf_keras.optimizers.Adam(config.learning_rate)
    self.optimizer.build(list(self.params.values()))
    self.float_epochs = round(config.float_share * config.epochs) if tap else 0

  def run(self, folder: str | None = None, report: Report | None = None):
    """Trains, or goes on where `folder` stands; returns Trained.

    Raises:
      FloatingPointError: if the loss is not finite.
      CheckpointError: if the checkpoint in `folder` is damaged.
    """
    every = self.config.every
    loop = Loop(folder, self.config.epochs, 10 * every, **self._state())
    for epoch in loop:
      quantised = epoch >= self.float_epochs
      loss = self.step(tf.constant([self.config.seed, epoch]), quantised)
      if (epoch + 1) % every == 0 or epoch + 1 == self.config.epochs:
        finite(loss, "the training")
        accuracy = self._look(quantised)
        if report:
          progress = Progress(epoch, self.config.epochs, float(loss), accuracy)
          report(progress)
    return self._trained()

  @tf.function(autograph=False)
  def step(self, seed, quantised: bool):
    """One step of Adam; returns the loss."""
    tap = self.noisy(seed) if quantised else no_tap
    with tf.GradientTape() as tape:
      logits = self._logits(tap, dropout(self.config.dropout, seed))
      nodes = self.graph.train
      loss, _ = cross_entropy(logits, self.graph.labels, nodes)
      total = loss + self.config.weight_decay * l2(self.params.values())
    variables = list(self.params.values())
    gradients = tape.gradient(total, variables)
    self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return loss

  @tf.function(autograph=False)
  def logits(self):
    """[N, classes] of the present parameters in their formats, without
    dropout."""
    return self._logits(self.tap, lambda _, x: x)

  def _logits(self, tap, drop):
    return forward(self.params, self.inputs, *plans(self.arch), tap, drop)

  def _look(self, quantised):
    """Validation accuracy in the formats; once training is `quantised` too,
    the parameters are kept if it is the best, or as good with no larger
    loss."""
    logits = self.logits()
    val_loss, accuracy = cross_entropy(
      logits, self.graph.labels, self.graph.val
    )
    accuracy = 100 * float(accuracy)
    score = [accuracy, -float(val_loss)]
    if quantised and score >= self.scores.numpy().tolist():
      self.scores.assign(score)
      for name, value in self.params.items():
        self.best[name].assign(value)
    return accuracy

  def _state(self):
    state = dict(params=self.params, best=self.best, scores=self.scores)
    return state | {"optimizer": self.optimizer}

  def _trained(self):
    for name, value in self.best.items():
      self.params[name].assign(value)
    logits = self.logits()
    (_, val), (_, test) = (
      cross_entropy(logits, self.graph.labels, nodes)
      for nodes in (self.graph.val, self.graph.test)
    )
    return Trained(
      {name: value.numpy() for name, value in self.params.items()},
      100 * float(val),
      100 * float(test),
    )
