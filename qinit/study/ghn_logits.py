"""What a network of predicted parameters says of test images."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from qinit.data import cifar10
from qinit.data.normalise import RANGE, normalise
from qinit.graph.spec import NetSpec
from qinit.quant.simulation import Simulated
from qinit.study.ghn_step import forward_of

_BATCH = 64  # Section 4.2; BatchNorm's statistics are those of so many images
# Batches from which on one graph of the whole network, which takes seconds to
# make, is faster than chain by chain.
_MANY = 64


@dataclasses.dataclass(frozen=True)
class Images:
  """Test images in batches of 64, normalised, and their labels."""

  batches: list[tf.Tensor]
  labels: np.ndarray

  @classmethod
  @functools.lru_cache(1)
  def load(cls, data_dir: str | None, count: int) -> "Images":
    """The first so many, all for 0; raises DataError."""
    images, labels = cifar10.load(data_dir, "test")
    count = count or len(images)
    images = normalise(images[:count])
    batches = [
      tf.constant(images[i : i + _BATCH]) for i in range(0, count, _BATCH)
    ]
    return cls(batches, labels[:count])


@dataclasses.dataclass(frozen=True)
class Predicted:
  """A network with its predicted parameters, and test images."""

  spec: NetSpec
  params: dict
  images: Images

  @functools.cached_property
  def statistics(self) -> list[dict]:
    """By batch: BatchNorms' that are the same at all widths."""
    network = Simulated(self.spec, RANGE)
    return [
      network.input_statistics(self.params, x) for x in self.images.batches
    ]

  def logits(self, params: dict, way, number: int) -> np.ndarray:
    """Of all images, quantised in this way, with its learned steps among the
    parameters; each batch has noise of its own, where `way` has noise."""
    forward, batches = forward_of(self.spec, way), self.images.batches

    def run(known, x, seed):
      return forward(params | known, images=x, training=False, seed=seed)

    whole = run
    if len(batches) >= _MANY:
      whole = tf.function(run, autograph=False)
    statistics = [{}] * len(batches) if way is None else self.statistics
    found = []
    for i, (x, known) in enumerate(zip(batches, statistics, strict=True)):
      one = whole if len(x) == len(batches[0]) else run
      found.append(one(known, x, np.array([number, i], np.int32)))
    return np.concatenate(found)
