"""What a classification data set is to the studies."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from qinit.data.augment import Augmentation
from qinit.errors import DataError


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Images [N, H, W, 3] as uint8 and labels [N] as int64, in two splits, with
  the augmentation that suits them."""

  name: str
  train_images: np.ndarray
  train_labels: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray
  augmentation: Augmentation
  num_classes: int = 10

  @functools.cached_property
  def train_tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
    """Training images and labels as tensors on the host, made once."""
    with tf.device("CPU"):
      return tf.constant(self.train_images), tf.constant(self.train_labels)


def scaled(images):
  """uint8 images as float32 in [0, 1], the networks' input."""
  return images.astype(np.float32) / np.float32(255)


def check_count(name, images, wanted):
  """Raises DataError unless `wanted` images are there."""
  if len(images) != wanted:
    raise DataError(
      f"{name} has {len(images)} images instead of {wanted}: the file is"
      " truncated, place it anew"
    )
