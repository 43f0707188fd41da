"""Training with checkpoints: killed anywhere, it ends in the same weights."""

import dataclasses
import math
import os
import time
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras

from qinit import checkpoints
from qinit.data.dataset import Dataset
from qinit.data.pipeline import epoch_batches
from qinit.graph.layers import CheckpointedDropout

# The paper's 200 epochs; shorter trainings scale the milestones.
_EPOCHS, _MILESTONES, _DECAY = 200, (75, 120, 170), 0.1
# An accuracy below so many times chance on the test set is no classifier.
_DEAD = 1.2
# A loss is looked at every so many steps: reading it waits for the device.
_GLANCE = 20


@dataclasses.dataclass(frozen=True)
class FitConfig:
  """SGD as in Section 3.1: momentum 0.9, the rate x0.1 at three milestones."""

  epochs: int = 200
  batch_size: int = 128
  learning_rate: float = 0.01
  momentum: float = 0.9
  seed: int = 0
  augment: bool = True

  def rate(self, epoch: int) -> float:
    """Learning rate of an epoch (counted from 0)."""
    milestones = [round(m * self.epochs / _EPOCHS) for m in _MILESTONES]
    passed = sum(epoch >= max(1, milestone) for milestone in milestones)
    return self.learning_rate * _DECAY**passed


@dataclasses.dataclass(frozen=True)
class Progress:
  """How far a training is. `epoch` counts from 0, `step` from 1."""

  epoch: int
  epochs: int
  step: int
  steps: int
  loss: float
  accuracy: float


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a training ended. `accuracy` (percent) and `loss` are the means over
  the last epoch with augmentation and dropout; `seconds` were spent training,
  interruptions not counted."""

  diverged: bool
  epochs: int
  steps: int
  loss: float
  accuracy: float
  seconds: float


def fit(
  model: tf_keras.Model,
  data: Dataset,
  config: FitConfig,
  folder: str,
  report: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
  """Trains `model` in place, or goes on from the last epoch in `folder`.

  A loss that is not finite, or an accuracy near chance after ten epochs (or
  half of them, if fewer), ends the training as diverged. TensorBoard logs go
  to `folder`/logs.

  Raises:
    CheckpointError: if no checkpoint in `folder` can be read.
  """
  return _Trainer(model, data, config, folder, report).run()


class _Trainer:
  """The state of one training."""

  def __init__(self, model, data, config, folder, report):
    self.model, self.data, self.config = model, data, config
    self.report, self.folder = report, folder
    self.optimizer = tf_keras.optimizers.SGD(
      config.learning_rate, momentum=config.momentum
    )
    self.optimizer.build(model.trainable_variables)
    self.epoch = tf.Variable(0, dtype=tf.int64)
    self.loss = tf.Variable(0.0)
    self.accuracy = tf.Variable(0.0)
    self.seconds = tf.Variable(0.0)
    self.steps = max(1, len(data.train_labels) // config.batch_size)

  def run(self) -> Outcome:
    manager = self._restored()
    writer = tf.summary.create_file_writer(os.path.join(self.folder, "logs"))
    while not self._diverged() and self.epoch < self.config.epochs:
      start = time.monotonic()
      self._run_epoch()
      self.seconds.assign_add(time.monotonic() - start)
      self.epoch.assign_add(1)
      self._log(writer)
      manager.save()
    return Outcome(
      diverged=self._diverged(),
      epochs=int(self.epoch),
      steps=int(self.optimizer.iterations),
      loss=float(self.loss),
      accuracy=float(self.accuracy),
      seconds=float(self.seconds),
    )

  def _seed_dropout(self):
    for layer in self.model.submodules:  # those in wrappers too
      if isinstance(layer, CheckpointedDropout):
        name = zlib.crc32(layer.name.encode())
        layer.generator.reset_from_seed((self.config.seed << 32) + name)

  def _restored(self):
    self._seed_dropout()
    checkpoint = tf.train.Checkpoint(
      model=self.model,
      optimizer=self.optimizer,
      epoch=self.epoch,
      loss=self.loss,
      accuracy=self.accuracy,
      seconds=self.seconds,
    )
    folder = os.path.join(self.folder, "checkpoints")
    return checkpoints.restored(checkpoint, folder)

  def _run_epoch(self):
    epoch = int(self.epoch)
    self.optimizer.learning_rate.assign(self.config.rate(epoch))
    loss, correct = tf.Variable(0.0), tf.Variable(0.0)
    for step, (x, y) in enumerate(self._batches(epoch), 1):
      self._step(x, y, loss, correct)
      if step % _GLANCE == 0 or step == self.steps:
        self._glance(epoch, step, loss, correct)
        if not math.isfinite(float(self.loss)):
          return

  def _batches(self, epoch):
    return epoch_batches(
      *self.data.train_tensors,
      min(self.config.batch_size, len(self.data.train_labels)),
      self.data.augmentation if self.config.augment else None,
      self.config.seed,
      epoch,
    )

  @tf.function(autograph=False)
  def _step(self, images, labels, loss, correct):
    with tf.GradientTape() as tape:
      logits = self.model(images, training=True)
      batch_loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
      )
      penalised = sum(self.model.losses, batch_loss)
    variables = self.model.trainable_variables
    gradients = tape.gradient(penalised, variables)
    self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    hits = tf.cast(tf.argmax(logits, -1) == labels, tf.float32)
    loss.assign_add(batch_loss)
    correct.assign_add(tf.reduce_mean(hits))

  def _glance(self, epoch, step, loss, correct):
    self.loss.assign(loss / step)
    self.accuracy.assign(100 * correct / step)
    self.report(
      Progress(
        epoch,
        self.config.epochs,
        step,
        self.steps,
        float(self.loss),
        float(self.accuracy),
      )
    )

  def _diverged(self) -> bool:
    if not math.isfinite(float(self.loss)):
      return True
    chance = 100 / self.data.num_classes
    patience = min(10, math.ceil(self.config.epochs / 2))
    return int(self.epoch) >= patience and float(self.accuracy) < 1.5 * chance

  def _log(self, writer):
    epoch = int(self.epoch)
    with writer.as_default(step=epoch):
      tf.summary.scalar("loss", self.loss)
      tf.summary.scalar("accuracy", self.accuracy)
      tf.summary.scalar("learning_rate", self.config.rate(epoch - 1))
    writer.flush()


def lost(accuracy: float, data: Dataset) -> bool:
  """Whether an accuracy on the test set (percent) is no better than chance."""
  return accuracy < _DEAD * 100 / data.num_classes


def predict(model: tf_keras.Model, images: np.ndarray, batch: int = 250):
  """Logits [N, classes] for float images [N, H, W, C], batch after batch."""
  return predictor(model, batch)(images)


def predictor(model: tf_keras.Model, batch: int = 250) -> Callable:
  """`predict` as a function of images, traced once for any number of calls;
  it sees the weights of the moment."""
  shape = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
  run = tf.function(lambda x: model(x, training=False), input_signature=[shape])

  def logits(images):
    starts = range(0, len(images), batch)
    return np.concatenate([run(images[i : i + batch]).numpy() for i in starts])

  return logits
