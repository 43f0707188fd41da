"""Degree-Quant (Tailor et al., 2021): quantisation-aware training that spares
nodes of many edges, whose sums are the largest, at random in every step.

A node is protected, i.e. in full precision for a step, with a probability
that grows linearly with the rank of its degree, from `low` to `low + change`:
0 and 0.1 at 8 bits, 0.1 and 0.1 at 4, as in the published runs. Ranges are
asymmetric, between the 0.1th and 99.9th percentile for states.

Departures: ranges are those of the present tensor, not moving averages (every
step sees the whole graph); messages are not quantised apart from states.
"""

import zlib

import numpy as np
import tensorflow as tf

from qinit.quant.affine import Affine, fake_quant

_LOW = {8: 0.0, 4: 0.1}
_CHANGE = 0.1
_TAIL = 0.001
# Elements from which percentiles are read.
_SAMPLE = 8192
_STATES = ("linear", "aggregate", "activation")
_ACTIVATIONS = (*_STATES, "attention", "input")


class DegreeQuant:
  """The tap of inference; `training(seed)` is that of a training step."""

  def __init__(self, graph, bits: int, seed=None):
    self.graph, self.bits, self.seed = graph, bits, seed

  def training(self, seed) -> "DegreeQuant":
    return DegreeQuant(self.graph, self.bits, seed)

  def __call__(self, name: str, x: tf.Tensor) -> tf.Tensor:
    kind = name.rsplit("/", 1)[-1]
    if kind in ("bias", "score"):
      return x
    if kind not in _ACTIVATIONS:
      return fake_quant(x, Affine.of_tensor(x, self.bits))
    y = fake_quant(x, Affine.of_tensor(_trimmed(x), self.bits), clipped=True)
    if self.seed is None or kind not in _STATES:
      return y
    return tf.where(self._protected(name)[:, None], x, y)

  def _protected(self, name):
    own = self.seed + tf.constant([zlib.crc32(name.encode()) % 2**30, 0])
    draw = tf.random.stateless_uniform([self.graph.num_nodes], own)
    return draw < protection(self.graph.degree, self.bits)


def protection(degree: np.ndarray, bits: int) -> np.ndarray:
  """[N] probabilities, float32; nodes of one degree share theirs, that of the
  last of them in order."""
  ordered = np.sort(degree)
  rank = np.searchsorted(ordered, degree, "right") / len(degree)
  return (_LOW[bits] + _CHANGE * rank).astype(np.float32)


def _trimmed(x):
  flat = tf.reshape(x, [-1])
  flat = flat[:: tf.bitwise.bitwise_or(tf.size(flat) // _SAMPLE, 1)]
  ordered, last = tf.sort(flat), tf.cast(tf.size(flat) - 1, tf.float32)
  ends = (tf.cast(share * last, tf.int32) for share in (_TAIL, 1 - _TAIL))
  return tf.clip_by_value(x, *(ordered[end] for end in ends))
