"""What a network of predicted parameters says of test images."""

import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from qinit import record
from qinit.data import cifar10
from qinit.data.normalise import RANGE, normalise
from qinit.graph.spec import NetSpec
from qinit.quant.mixed import Mixed
from qinit.quant.simulation import Simulated
from qinit.study.ghn_step import forward_of

_BATCH = 64  # Section 4.2; BatchNorm's statistics are those of so many images
# Batches from which on one graph of the whole network, which takes seconds to
# make, is faster than chain by chain, if it serves several widths.
_MANY = 16
# Of small kernels two cores run two batches in 0.75 to 0.9 of the time that
# they take one after the other, and in less with one thread each. All tensors
# of a batch may be kept until its end, which bounds how many.
_AT_ONCE = 8


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
  def network(self) -> Simulated:
    return Simulated(self.spec, RANGE)

  @functools.cached_property
  def statistics(self) -> list[dict]:
    """By batch: BatchNorms' that are the same at all widths."""
    batches = self.images.batches
    return _each(
      lambda i: self.network.input_statistics(self.params, batches[i]),
      len(batches),
    )

  def logits(self, params: dict, way, number: int) -> np.ndarray:
    """Of all images, quantised in this way, with its learned steps among the
    parameters; each batch has noise of its own, where `way` has noise."""
    batches, forward = self.images.batches, forward_of(self.spec, way)
    statistics = [{}] * len(batches) if way is None else self.statistics
    if len(batches) >= _MANY:
      whole = functools.partial(self._whole, *self._planned(way))
    else:
      whole = forward

    def one(i):
      ran = whole if len(batches[i]) == len(batches[0]) else forward
      known, seed = params | statistics[i], np.array([number, i], np.int32)
      return ran(known, batches[i], training=False, seed=seed).numpy()

    return np.concatenate(_each(one, len(batches)))

  @functools.cached_property
  def _whole(self):
    """The network as one graph, which serves all widths: `kinds` of
    quantisation are known when it is traced, `bits` are not."""

    def run(kinds, bits, params, x, training, seed):
      if not kinds:
        return forward_of(self.spec, None)(params, x, training, seed)
      bits = tf.split(bits, [2 * len(kind) for kind in kinds])
      plan = list(zip(kinds, bits, strict=True))
      return self.network.run(params, x, plan, training, seed)

    return tf.function(run, autograph=False)

  def _planned(self, way):
    """The `Simulated.plan` of `way`, kinds apart from widths; none for
    float."""
    if way is None:
      return (), np.empty(0)
    how = way.of(self.network) if isinstance(way, Mixed) else way
    kinds, bits = zip(*self.network.plan(how), strict=True)
    return kinds, np.concatenate(bits)


def at_once() -> int:
  """How many batches run at once."""
  return min(_AT_ONCE, record.operations())


def _each(work: Callable, count: int) -> list:
  """`work` of 0 to count - 1, some at once; but not the first and the last,
  which may be of another size: TensorFlow crashes where two threads trace."""
  found = {i: work(i) for i in {0, count - 1}}
  between = range(1, count - 1)
  with ThreadPoolExecutor(at_once()) as pool:
    found |= zip(between, pool.map(work, between), strict=True)
  return [found[i] for i in range(count)]
