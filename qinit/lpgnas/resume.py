"""Checkpoints of a loop over epochs: killed anywhere, it goes on."""

import math
import os
from typing import NamedTuple

import tensorflow as tf

from qinit import checkpoints


class Progress(NamedTuple):
  """How far a loop is. `epoch` counts from 0; `note` says what else there is
  to say."""

  epoch: int
  epochs: int
  loss: float
  accuracy: float
  note: str = ""


class Loop:
  """An epoch counter and the variables that are saved with it, every so many
  epochs and at the end.

  Raises:
    CheckpointError: if the checkpoint in `folder` is damaged.
  """

  def __init__(self, folder: str | None, epochs: int, every: int, **state):
    self.epochs, self.every = epochs, every
    self.epoch = tf.Variable(0, dtype=tf.int64)
    self.manager = None
    if folder:
      checkpoint = tf.train.Checkpoint(epoch=self.epoch, **state)
      folder = os.path.join(folder, "checkpoints")
      self.manager = checkpoints.restored(checkpoint, folder)

  def __iter__(self):
    """The epochs that are left; the counter moves when the body is done."""
    while int(self.epoch) < self.epochs:
      yield int(self.epoch)
      self.epoch.assign_add(1)
      done = int(self.epoch)
      if self.manager and (done % self.every == 0 or done == self.epochs):
        self.manager.save()


def finite(value, what: str) -> float:
  """`value` as a number; raises FloatingPointError if it is not finite."""
  value = float(value)
  if not math.isfinite(value):
    raise FloatingPointError(f"the loss of {what} is not finite")
  return value
