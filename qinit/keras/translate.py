"""Keras layers as ops of the table."""

from collections.abc import Callable
from typing import NoReturn

import tf_keras

from qinit.errors import SpecError
from qinit.graph import layers as own
from qinit.graph import ops, padding

Step = tuple[str, ops.Op]


def translate(layer, pads=None) -> list[Step]:
  """The ops that a layer amounts to, each with the suffix of its node's name:
  one, or two where an activation is inside, or none for what does nothing.

  Args:
    pads: the zeros that a ZeroPadding2D puts around its input.

  Raises:
    SpecError: naming the layer and the way out.
  """
  try:
    row = _ROWS.get(type(layer).__name__)
    if row is None:
      _refuse(
        layer, f"a {type(layer).__name__} has no integer counterpart here"
      )
    return row(layer, pads) if row is _conv else row(layer)
  except SpecError as error:
    if repr(layer.name) in str(error):
      raise
    raise SpecError(f"layer {layer.name!r}: {error}") from None


def has_softmax(layer) -> bool:
  """Whether a layer is a softmax or ends in one."""
  if isinstance(layer, tf_keras.layers.Softmax):
    return True
  return _activation(layer) == "softmax"


def _conv(layer, pads):
  config = layer.get_config()
  if layer.data_format != "channels_last":
    _refuse(layer, "it is channels first: use data_format='channels_last'")
  if config.get("groups", 1) != 1 or config.get("depth_multiplier", 1) != 1:
    _refuse(layer, "use groups=1 and depth_multiplier=1")
  if len(set(layer.dilation_rate)) > 1:
    _refuse(layer, "use the same dilation in both directions")
  common = dict(
    kernel_size=tuple(layer.kernel_size),
    strides=tuple(layer.strides),
    dilation=config.get("taps", layer.dilation_rate[0]),
    use_bias=layer.use_bias,
  )
  common["padding"] = _conv_padding(layer, pads, **common)
  if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
    op = ops.DepthwiseConv(**common)
  else:
    op = ops.Conv(layer.filters, **common)
  return [("", op), *_fused(layer)]


def _conv_padding(layer, pads, kernel_size, strides, dilation, use_bias):
  """`same` or `symmetric`, where the padding in front amounts to it."""
  if table_padding := getattr(layer, "table_padding", None):
    return table_padding
  if layer.padding == "same":
    return "same"
  shape, pads = layer.input_shape[1:3], pads or ((0, 0), (0, 0))
  sizes = [n - sum(p) for n, p in zip(shape, pads, strict=True)]
  same, symmetric = padding.amounts(sizes, kernel_size, strides, dilation)
  found = [tuple(p) for p in pads]
  if found == same:
    return "same"
  if found == symmetric:
    return "symmetric"
  _refuse(layer, "use padding='same', or zero padding that amounts to it")


def _dense(layer):
  return [("", ops.Dense(layer.units)), *_fused(layer)]


def _batch_norm(layer):
  axis = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
  if axis not in ([-1], [len(layer.input_shape) - 1]):
    _refuse(layer, "normalise over the channels, axis=-1")
  return [("", ops.BatchNorm(layer.epsilon, layer.momentum))]


def _relu(layer):
  if layer.negative_slope or layer.threshold:
    _refuse(layer, "use a ReLU without slope and threshold")
  ceiling = layer.max_value or 0
  if ceiling != int(ceiling):
    _refuse(layer, "use a whole number as max_value")
  return [("", ops.Relu(int(ceiling)))]


def _pool(kind):
  def pool(layer):
    (size, other), (stride, also) = layer.pool_size, layer.strides
    if size != other or stride != also or layer.padding != "same":
      _refuse(layer, "use a square window and stride, and padding='same'")
    return [("", ops.Pool(kind, size, stride))]

  return pool


def _global_pool(layer):
  if layer.keepdims:
    _refuse(layer, "use keepdims=False")
  return [("", ops.GlobalPool())]


def _fused(layer) -> list[Step]:
  """The activation inside of a layer."""
  name = _activation(layer)
  if name in ("linear", "softmax"):
    return []
  if name not in _ACTIVATIONS:
    _refuse(layer, f"use relu, relu6 or linear instead of {name}")
  return [(".relu", _ACTIVATIONS[name])]


def _activation_layer(layer):
  return [("", op) for _, op in _fused(layer)]


def _activation(layer):
  function = getattr(layer, "activation", None)
  return "linear" if function is None else function.__name__


def _concat(layer):
  if layer.axis not in (-1, len(layer.output_shape) - 1):
    _refuse(layer, "concatenate the channels, axis=-1")
  return [("", ops.Concat())]


def _op(layer):
  return [("", layer.op)]


def _always(op):
  return lambda layer: [("", op)]


def _refuse(layer, sentence) -> NoReturn:
  raise SpecError(f"layer {layer.name!r} cannot be quantised: {sentence}")


_ACTIVATIONS = {"relu": ops.Relu(), "relu6": ops.Relu(6)}
_ROWS: dict[str, Callable[..., list[Step]]] = {
  "Conv2D": _conv,
  "DepthwiseConv2D": _conv,
  own.ExactConv2D.__name__: _conv,
  own.ExactDepthwiseConv2D.__name__: _conv,
  "Dense": _dense,
  "BatchNormalization": _batch_norm,
  "ReLU": _relu,
  "Activation": _activation_layer,
  "Softmax": lambda layer: [],
  "MaxPooling2D": _pool("max"),
  "AveragePooling2D": _pool("avg"),
  "GlobalAveragePooling2D": _global_pool,
  "Flatten": _always(ops.Flatten()),
  "Add": _always(ops.Add()),
  "Concatenate": _concat,
  "Dropout": lambda layer: [("", ops.Dropout(layer.rate))],
  own.CheckpointedDropout.__name__: lambda layer: [
    ("", ops.Dropout(layer.rate))
  ],
  own.OpLayer.__name__: _op,
}
