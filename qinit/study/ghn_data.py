"""What a training step of a hypernetwork sees: a function of its number.

Nothing has a state, so a training that is resumed at any step goes on with
the images, networks and random numbers of one that was never interrupted.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from qinit.archs.collection import Network, bn_free_50k, convnets_250k
from qinit.archs.convnets import ConvNets
from qinit.archs.generator import Generator
from qinit.data.normalise import normalise

_IMAGES, _NETWORKS, _AUGMENT = 0, 1, 2  # streams of random numbers
_PAD = 4
# By the name of --split: the TFDS config, and what samples it.
TRAINING_SPLITS = {
  "train": ("convnets_250k", convnets_250k),
  "bn_free_50k": ("bn_free_50k", bn_free_50k),
}


def networks(split: str, data_dir: str | None, count: int = 0):
  """The networks to train on: those stored in `data_dir`, or `count` that are
  sampled now.

  Raises:
    DataError: if they are to be read and are not there.
  """
  config, collection = TRAINING_SPLITS[split]
  if not count:
    return ConvNets(data_dir, "train", config)
  return list(Generator(collection(count), processes=1).split("train"))


@dataclasses.dataclass(frozen=True)
class Stream:
  """Images uint8 [N, 32, 32, 3] and labels [N], and networks, in the order in
  which the steps of a training take them: all once per epoch, in an order of
  each epoch's own."""

  images: np.ndarray
  labels: np.ndarray
  networks: Sequence[Network]
  batch_size: int
  meta_batch: int
  seed: int

  def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalised images [B, 32, 32, 3], shifted by up to four pixels and
    mirrored as the published hypernetworks' were, and their labels [B]."""
    index = self._take(_IMAGES, len(self.images), step, self.batch_size)
    rng = np.random.Generator(
      np.random.Philox(key=[self.seed, _AUGMENT], counter=[0, 0, 0, step])
    )
    return shifted(normalise(self.images[index]), rng), self.labels[index]

  def graphs(self, step: int) -> list[Network]:
    """The step's networks."""
    index = self._take(_NETWORKS, len(self.networks), step, self.meta_batch)
    return [self.networks[int(i)] for i in index]

  def seeds(self, step: int, network: int) -> np.ndarray:
    """Two integers for the dropout and noise of one network of the step."""
    number = (step * self.meta_batch + network) % 2**31
    return np.array([self.seed % 2**31, number], np.int32)

  def _take(self, stream, size, step, count):
    """Elements `step * count` onwards of all epochs one after the other."""
    places = np.arange(step * count, (step + 1) * count)
    orders = {
      e: _order(self.seed, stream, size, int(e))
      for e in np.unique(places // size)
    }
    return np.array([orders[p // size][p % size] for p in places])


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Random crops of the images [B, H, W, C] padded with four black pixels,
  half of them mirrored. Black is 0 before normalisation."""
  black = normalise(np.zeros([1, 1, 1, images.shape[-1]], np.uint8))
  count, height, width, _ = images.shape
  large = np.tile(black, [count, height + 2 * _PAD, width + 2 * _PAD, 1])
  large[:, _PAD:-_PAD, _PAD:-_PAD] = images
  rows, columns = rng.integers(0, 2 * _PAD + 1, (2, count))
  rows = rows[:, None] + np.arange(height)
  columns = columns[:, None] + np.arange(width)
  columns = np.where(rng.random([count, 1]) < 0.5, columns, columns[:, ::-1])
  each = np.arange(count)[:, None, None]
  return large[each, rows[:, :, None], columns[:, None]]


_ORDERS: dict = {}


def _order(seed, stream, size, epoch):
  """A permutation; the last few are kept, each serves a whole epoch."""
  key = (seed, stream, size, epoch)
  if key not in _ORDERS:
    rng = np.random.Generator(
      np.random.Philox(key=[seed, stream], counter=[0, 0, epoch, 0])
    )
    while len(_ORDERS) >= 8:
      del _ORDERS[next(iter(_ORDERS))]
    _ORDERS[key] = rng.permutation(size)
  return _ORDERS[key]
