"""NetSpec -> tf_keras.Model, and parameters in and out of it."""

from collections.abc import Mapping

import numpy as np
import tf_keras

from qinit.errors import QinitError
from qinit.graph.spec import INPUT, NetSpec


def build(spec: NetSpec, name: str = "qinit") -> tf_keras.Model:
  """A functional model. Layers carry the nodes' names, so that a weight is
  called "node/role", as in `spec.param_specs()`."""
  inputs = tf_keras.Input(spec.input_shape, name=INPUT)
  values = {INPUT: inputs}
  for node in spec.nodes:
    args = [values[i] for i in node.inputs]
    layer = node.op.keras_layer(node.name)
    values[node.name] = layer(args if len(args) > 1 else args[0])
  return tf_keras.Model(inputs, values[spec.output], name=name)


def variables(model: tf_keras.Model) -> dict:
  """The model's variables by "node/role"."""
  return {w.name.split(":")[0]: w for w in model.weights}


def params(model: tf_keras.Model) -> dict[str, np.ndarray]:
  """The model's parameters as arrays by "node/role"."""
  return {key: w.numpy() for key, w in variables(model).items()}


def assign(model: tf_keras.Model, params: Mapping) -> None:
  """Writes `params` into the model with tf.Variable.assign.

  Variables that `params` does not name (moving statistics, say) are kept.

  Raises:
    QinitError: for a key or a shape that the model does not have; nothing is
      written then.
  """
  own = variables(model)
  for key, value in params.items():
    if key not in own:
      raise QinitError(f"the model has no parameter {key!r}")
    if tuple(own[key].shape) != tuple(value.shape):
      raise QinitError(
        f"parameter {key!r} has shape {tuple(value.shape)}, the model needs"
        f" {tuple(own[key].shape)}"
      )
  for key, value in params.items():
    own[key].assign(value)
