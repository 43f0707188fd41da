"""What is computed per edge and channel, a slice of channels at a time."""

import math
from collections.abc import Callable

import tensorflow as tf

from qinit.lpgnas.space import HIDDEN

# Elements up to which nothing is cut, and of a slice of more.
BUDGET, SLICE = 1 << 25, 1 << 23


def by_channels(
  part: Callable, pattern, whole: tuple, sliced: tuple, summed: bool
) -> tf.Tensor:
  """part(pattern, *whole, *slices) summed or concatenated over slices of the
  last axis of `sliced`; going back, each slice is computed again, so that
  tensors of more than BUDGET elements are never held. Of smaller ones nothing
  is cut and nothing computed again.

  Args:
    part: a function of its arguments alone.
    pattern: a named tuple without gradient, `rows` [E] in it.
    sliced: the first is [N, H, C].
  """
  if _most_elements(pattern, sliced[0]) <= BUDGET:
    return part(pattern, *whole, *sliced)
  kind, given, count = type(pattern), len(pattern), len(whole)

  @tf.custom_gradient
  def run(*arguments):
    pattern, tensors = kind(*arguments[:given]), arguments[given:]

    def forward(start, width):
      slices = _cut(tensors[count:], start, width)
      return [part(pattern, *tensors[:count], *slices)]

    def gradient(dy):
      # A loop in the gradient of a switch must not reach into the switch.
      dy, own, *rest = tf.nest.map_structure(
        tf.identity, [dy, pattern, *tensors]
      )
      return *[None] * given, *_backward(part, count, summed, dy, own, *rest)

    y = _loop(forward, [summed], pattern.rows, tensors[count])[0]
    return y, gradient

  return run(*pattern, *whole, *sliced)


def _most_elements(pattern, states):
  """Of a tensor per edge and channel; a width that is known only when the
  graph runs counts as the largest."""
  widths = states.shape[1:]
  known = widths.is_fully_defined()
  return pattern.rows.shape[0] * (math.prod(widths) if known else max(HIDDEN))


def _backward(part, count, summed, dy, pattern, *tensors):
  """Gradients of `tensors`, of which the first `count` are not sliced."""
  whole, sliced = list(tensors[:count]), tensors[count:]

  def body(start, width):
    slices = _cut(sliced, start, width)
    piece = dy if summed else _cut([dy], start, width)[0]
    with tf.GradientTape() as tape:
      tape.watch(whole + slices)
      y = part(pattern, *whole, *slices)
    found = tape.gradient(y, whole + slices, piece)
    return [tf.convert_to_tensor(x) for x in found]

  added = [True] * len(whole) + [False] * len(sliced)
  return _loop(body, added, pattern.rows, sliced[0])


def _cut(tensors, start, width):
  return [t[..., start : start + width] for t in tensors]


def _loop(body, summed, rows, states):
  """Each result of body(start, width) summed or concatenated over slices of
  the channels of `states` [N, H, C]."""
  heads, channels = tf.shape(states)[1], tf.shape(states)[2]
  width = SLICE // tf.maximum(tf.size(rows) * heads, 1)
  width = tf.clip_by_value(width, 1, channels)

  def step(start, *sofar):
    found = [
      a + b if add else tf.concat([a, b], -1)
      for a, b, add in zip(sofar, body(start, width), summed, strict=True)
    ]
    return start + width, *found

  first = body(tf.constant(0), width)
  shapes = [
    x.shape if add else tf.TensorShape([*x.shape[:-1], None])
    for x, add in zip(first, summed, strict=True)
  ]
  return tf.while_loop(
    lambda start, *_: start < channels,
    step,
    (width, *first),
    shape_invariants=(width.shape, *shapes),
  )[1:]
