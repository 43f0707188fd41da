"""Batches for training: shuffled and augmented as a function of the seed."""

import numpy as np
import tensorflow as tf

from qinit.data.augment import Augmentation, augment


def epoch_batches(
  images: tf.Tensor,
  labels: tf.Tensor,
  batch_size: int,
  augmentation: Augmentation | None,
  seed: int,
  epoch: int,
) -> tf.data.Dataset:
  """One epoch of (images [B, H, W, C] float32 in [0, 1], labels [B] int64).

  The last partial batch is dropped. Order and augmentation are functions of
  `seed` and `epoch` alone, so that training can resume at any epoch.

  Args:
    images: uint8 [N, H, W, C] on the host. A tensor, not an array, so that
      epochs share it instead of copying it.
    labels: int64 [N].
  """
  rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
  order = rng.permutation(len(labels))
  steps = max(1, len(labels) // batch_size)
  order = order[: steps * batch_size].reshape(steps, -1)
  seeds = rng.integers(0, 2**31, (steps, 2), np.int32)

  def batch(index, seed):
    x = tf.cast(tf.gather(images, index), tf.float32) / 255.0
    if augmentation is not None:
      x = augment(x, augmentation, seed)
    return x, tf.gather(labels, index)

  return (
    tf.data.Dataset.from_tensor_slices((order, seeds))
    .map(batch, num_parallel_calls=2, deterministic=True)
    .prefetch(4)
    .with_options(_options())
  )


def _options():
  """Without TensorFlow's tuning: nothing here is left to tune, and its thread,
  asleep for longer and longer, is often waited for at the end of an epoch."""
  options = tf.data.Options()
  options.autotune.enabled = False
  return options
