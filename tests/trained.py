"""Small networks of the zoo, trained for seconds on scikit-learn's digits."""

import dataclasses

import numpy as np
import tensorflow as tf
import tf_keras
from sklearn.datasets import load_digits

from qinit.archs import zoo
from qinit.functional.lsuv import lsuv
from qinit.graph import ops
from qinit.graph.spec import NetSpec
from qinit.keras import builder
from qinit.params.initializers import initial_params

TRAINING = 1500


def digits():
  """Images [1797, 32, 32, 3] from -1 to 1, and labels."""
  data = load_digits()
  images = tf.image.resize(data.images[..., None] / 8 - 1, (32, 32))
  return np.repeat(images, 3, -1), data.target


def network(arch: str, epochs: int = 2, width: float = 0.25):
  """(spec, params) of an architecture after a short training."""
  images, labels = digits()
  images, labels = images[:TRAINING], labels[:TRAINING]
  tf_keras.utils.set_random_seed(0)
  spec = _quick(zoo.build(arch, width))
  params = initial_params(spec, "he_uniform", 0)
  kernels = [k for k, p in spec.param_specs().items() if p.is_kernel]
  model = builder.build(spec)
  rate = 2e-3 if zoo.ARCHS[arch].batch_norm else 1e-3
  builder.assign(model, lsuv(spec, params, kernels, images[:128]))
  model.compile(
    tf_keras.optimizers.Adam(rate),
    tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  model.fit(images, labels, batch_size=16, epochs=epochs, verbose=0)
  return spec, builder.params(model)


def _quick(spec):
  """A BatchNorm momentum that a hundred steps are enough for; no dropout."""

  def adapted(node):
    if isinstance(node.op, ops.BatchNorm):
      return dataclasses.replace(node, op=ops.BatchNorm(momentum=0.9))
    if isinstance(node.op, ops.Dropout):
      return dataclasses.replace(node, op=ops.Dropout(0.0))
    return node

  return NetSpec(spec.input_shape, tuple(map(adapted, spec.nodes)))
