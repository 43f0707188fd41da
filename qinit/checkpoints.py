"""Checkpoints of a training: where it goes on after it was stopped."""

import os
from pathlib import Path

import tensorflow as tf

from qinit.errors import CheckpointError


def restored(
  checkpoint: tf.train.Checkpoint, folder: str | os.PathLike, keep: int = 1
) -> tf.train.CheckpointManager:
  """Reads the newest checkpoint in `folder`, if there is one, and returns what
  writes the next. One that cannot be read yields to the one before it.

  Args:
    keep: how many of the newest stay in the folder.

  Raises:
    CheckpointError: if there are checkpoints and none can be read.
  """
  try:
    manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=keep)
  except ValueError as error:  # the list that TensorFlow keeps is damaged
    raise _damaged(folder, error) from None
  reason = None
  for path in _newest_first(Path(folder), manager.checkpoints):
    try:
      checkpoint.restore(path).assert_existing_objects_matched()
      return manager
    except Exception as error:  # TensorFlow raises many kinds here
      reason = error
  if reason:
    raise _damaged(folder, reason)
  return manager


def _newest_first(folder, listed):
  """What TensorFlow calls checkpoints, paths without a suffix: those in its
  list, and those that the list lost."""
  found = {str(p.with_suffix("")) for p in folder.glob("ckpt-[0-9]*.index")}
  return sorted(found | set(listed), key=_number, reverse=True)


def _number(path):
  return int(path.rsplit("-", 1)[1])


def _damaged(folder, error):
  return CheckpointError(
    f"the checkpoint in {folder} is damaged or of another version"
    f" ({type(error).__name__}): delete that folder to train anew"
  )
