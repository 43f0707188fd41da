"""What quantising one tensor alone costs: where a network is sensitive."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from qinit.functional.forward import forward
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.placement import Placement
from qinit.stats import accuracy
from qinit.stats.layerwise import LayerRow

_BATCH = 250


def with_sensitivity(
  rows: Iterable[LayerRow],
  placement: Placement,
  params: Mapping,
  tap: FakeQuant,
  images: np.ndarray,
  labels: np.ndarray,
) -> list[LayerRow]:
  """The rows with `kl` and `accuracy_loss` filled in: the network runs once
  for each tensor with that tensor alone quantised, the others float.

  A kernel takes its bias along.

  Args:
    params: of `placement.spec`.
    tap: quantises the whole network.
    images: [N, H, W, C], with `labels` [N].
  """
  logits = _one_at_a_time(placement, params, tap, images)
  before = logits(None)
  return [
    _measured(row, before, logits((row.kind, row.name)), labels) for row in rows
  ]


def _one_at_a_time(placement, params, tap, images):
  """(kind, name) -> logits [N, classes] with that tensor alone quantised."""
  names = [("weight", g.node.name) for g in placement.groups if g.kernel]
  names += [("activation", name) for name in sorted(tap.rounded)]
  index = {name: i for i, name in enumerate(names)}
  image_batch = tf.TensorSpec([None, *placement.spec.input_shape], tf.float32)

  # The choice is an argument, so that one trace serves all tensors.
  @tf.function(
    input_signature=[image_batch, tf.TensorSpec([], tf.int32)], autograph=False
  )
  def run(batch, chosen):
    def choose(kind, name, tensor):
      key = _key(kind, name)
      if key not in index:
        return tensor
      return tf.cond(
        chosen == index[key], lambda: tap(kind, name, tensor), lambda: tensor
      )

    return forward(placement.spec, params, batch, choose)

  def logits(key):
    chosen = tf.constant(-1 if key is None else index[key])
    starts = range(0, len(images), _BATCH)
    return np.concatenate(
      [run(images[i : i + _BATCH], chosen).numpy() for i in starts]
    )

  return logits


def _key(kind, name):
  if kind == "weight":
    return kind, name.rsplit("/", 1)[0]
  return "activation", name


def _measured(row, before, after, labels):
  loss = accuracy.accuracy(before, labels) - accuracy.accuracy(after, labels)
  return dataclasses.replace(
    row, kl=accuracy.kl(before, after), accuracy_loss=loss
  )
