"""tf_keras.Model -> NetSpec: the builder reversed, for foreign models too.

What a NetSpec cannot say is refused with a sentence that names the layer.
"""

import dataclasses

import numpy as np
import tf_keras

from qinit.errors import SpecError
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.keras.translate import has_softmax, translate

_ONES = ("gamma", "moving_variance")


@dataclasses.dataclass(frozen=True)
class Network:
  """A Keras model as data.

  Attributes:
    spec: nodes carry the layers' names; an activation inside of a layer
      becomes a node "layer.relu".
    params: arrays by "node/role".
    untrained: keys of the parameters that training leaves alone: what the
      layer lacks (a BatchNormalization without scale) or has frozen.
    softmax: whether the model ends in a softmax, which `spec` leaves out.
  """

  spec: NetSpec
  params: dict[str, np.ndarray]
  untrained: frozenset[str]
  softmax: bool


def read(model: tf_keras.Model) -> Network:
  """Describes a functional or sequential model.

  Raises:
    SpecError: for a Keras 3 or subclassed model, for a nested or shared layer,
      for several inputs or outputs, and for a layer without a row in the op
      table; names the layer and the way out.
  """
  _check(model)
  tensor, pads, nodes = {}, {}, []
  for name, inputs in _calls(model):
    if not inputs:
      tensor[name] = INPUT
      continue
    layer = model.get_layer(name)
    if isinstance(layer, tf_keras.layers.ZeroPadding2D):
      tensor[name], pads[name] = tensor[inputs[0]], layer.padding
    else:
      steps = translate(layer, _padding(layer, inputs, pads))
      sources = tuple(tensor[i] for i in inputs)
      for suffix, op in steps:
        nodes.append(Node(name + suffix, op, sources))
        sources = (name + suffix,)
      tensor[name] = sources[0]
  spec = NetSpec(tuple(model.input_shape[1:]), tuple(nodes))
  softmax = has_softmax(model.layers[-1])
  params, untrained = _params(model, spec)
  return Network(spec, params, untrained, softmax)


def _check(model):
  if not isinstance(model, tf_keras.Model):
    raise SpecError(
      f"a {type(model).__module__.split('.')[0]} {type(model).__name__} is no"
      " tf_keras model: build it with tf_keras, or set"
      " TF_USE_LEGACY_KERAS=1 before TensorFlow is imported"
    )
  if not model._is_graph_network:  # Keras has no public word for it
    raise SpecError(
      f"model {model.name!r} is subclassed or not built: make it with"
      " tf_keras.Model(inputs, outputs) or a Sequential with an Input"
    )
  if len(model.inputs) != 1 or len(model.outputs) != 1:
    raise SpecError(
      f"model {model.name!r} has {len(model.inputs)} inputs and"
      f" {len(model.outputs)} outputs: give a part with one of each"
    )


def _calls(model):
  """(layer name, names of the layers it reads) in topological order."""
  for layer in model.layers:
    if isinstance(layer, tf_keras.Model):
      raise SpecError(
        f"layer {layer.name!r} is a model inside of the model: call its layers"
        " one by one instead"
      )
  # As a functional model, a Sequential lists its input and its connections.
  functional = tf_keras.Model(model.inputs, model.outputs)
  entries = functional.get_config()["layers"]
  return [(entry["name"], _inbound(entry)) for entry in entries]


def _inbound(entry):
  calls = entry["inbound_nodes"]
  if len(calls) > 1:
    raise SpecError(
      f"layer {entry['name']!r} is shared by {len(calls)} places: give each"
      " a layer of its own"
    )
  found = []
  for name, _, _, kwargs in calls[0] if calls else ():
    if set(kwargs) - {"training"}:
      raise SpecError(
        f"layer {entry['name']!r} is called with {', '.join(kwargs)}: use a"
        " Keras layer such as Add or Concatenate for it"
      )
    found.append(name)
  return tuple(found)


def _padding(layer, inputs, pads):
  """The zero padding in front of `layer`, if any."""
  for name in inputs:
    if name in pads and getattr(layer, "padding", None) != "valid":
      raise SpecError(
        f"zero padding {name!r} feeds {layer.name!r}: only a convolution with"
        " padding='valid' can take it in"
      )
  return pads.get(inputs[0])


def _params(model, spec):
  own, trained = {}, set()
  for layer in model.layers:
    for weight in layer.weights:
      key = f"{layer.name}/{weight.name.split(':')[0].rsplit('/', 1)[-1]}"
      own[key] = weight.numpy()
      if any(weight is w for w in layer.trainable_weights):
        trained.add(key)
  params = {
    key: own.get(key, np.full(p.shape, float(p.role in _ONES), np.float32))
    for key, p in spec.param_specs().items()
  }
  return params, frozenset(spec.trainable_specs().keys() - trained)
