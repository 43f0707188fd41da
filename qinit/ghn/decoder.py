"""Node states -> parameter tensors (Sections 3.3 and 3.4 of GHN-2's paper).

Everything is computed in TensorFlow's layout and for nothing but the output
channels, input channels and kernel positions that a network has: kernel
positions do not interact, and a crop of the last layer is a slice of its
weights. Tensors of one shape are decoded together.
"""

import dataclasses
import itertools
import math

import tensorflow as tf

from qinit.graph.ops import Shape


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
  """A tensor to decode: the row of its node's state, its 4-D shape (O, I, kh,
  kw) as a node of the graph, and its shape in TensorFlow."""

  row: int
  node_shape: Shape
  shape: Shape

  @property
  def gain(self) -> float:
    """sqrt(beta / fan_in): beta is 1 for depthwise and 1 x k kernels."""
    _, i, kh, kw = self.node_shape
    depthwise = len(self.shape) > 2 and (i == 1 or kh < kw)
    return math.sqrt((1 if depthwise else 2) / (i * kh * kw))


def kernels(
  weights: dict, states: tf.Tensor, targets: list[Target], normalise: bool
) -> list[tf.Tensor]:
  """Convolution, depthwise and inner dense kernels, in the order of
  `targets`. W[o, i] = decoded[o mod 64, i mod 64] * gain."""
  decoded = [None] * len(targets)
  _, most_in, most_out = weights["decoder.conv.2.weight"].shape

  def crop(n):
    o, i = targets[n].node_shape[:2]
    return min(i, most_in), min(o, most_out)

  def size(n):
    return targets[n].node_shape[2:]

  def whole(n):
    return size(n), targets[n].node_shape, targets[n].shape

  order = sorted(range(len(targets)), key=lambda n: (crop(n), whole(n)))
  for (i, o), group in itertools.groupby(order, crop):
    group = list(group)
    hidden = tf.concat(
      [
        _hidden(weights, tf.gather(states, [targets[n].row for n in same]), k)
        for k, same in _grouped(group, size)
      ],
      0,
    )
    blocks = _channels(weights, hidden, i, o)
    alike = [same for _, same in _grouped(group, whole)]
    counts = [len(a) * math.prod(size(a[0])) for a in alike]
    for same, block in zip(alike, tf.split(blocks, counts), strict=True):
      target = targets[same[0]]
      block = tf.reshape(block, [len(same), *size(same[0]), i, o])
      block = block * target.gain if normalise else block
      tensors = _finish(block, len(same), target)
      for n, tensor in zip(same, tensors, strict=True):
        decoded[n] = tensor
  return decoded


def class_kernel(
  weights: dict, states: tf.Tensor, target: Target, normalise: bool
) -> tf.Tensor:
  """The last dense kernel: the decoded output channels are mixed into one
  row per class, W = relu(w)' P + p."""
  most_in = weights["decoder.conv.2.weight"].shape[1]
  most_out = weights["decoder.conv.2.weight"].shape[2]
  hidden = _hidden(weights, states[target.row : target.row + 1], (1, 1))
  i = min(target.node_shape[1], most_in)
  w = tf.reshape(_channels(weights, hidden, i, most_out), [i, most_out])
  name = "decoder.class_layer_predictor.1"
  w = tf.nn.relu(w) @ weights[f"{name}.weight"] + weights[f"{name}.bias"]
  w = w[:, : target.node_shape[0]]
  w = w * target.gain if normalise else w
  return _repeat(w, 0, target.shape[0])


def vectors(weights: dict, states: tf.Tensor, normalise: bool):
  """(gamma, beta), [N, 64] each, for states [N, hid]: 2 sigmoid(p / 2) and
  tanh(p / 5). Any other bias is decoded as a beta."""
  rows = _rows_1d(weights, states)
  gamma, beta = tf.unstack(rows, axis=1)
  if not normalise:
    return gamma, beta
  return 2 * tf.sigmoid(gamma / 2), tf.tanh(beta / 5)


def class_bias(weights: dict, state: tf.Tensor, normalise: bool) -> tf.Tensor:
  """The last bias [classes] from the state [hid] of its node."""
  beta = tf.nn.relu(_rows_1d(weights, state[None])[:, 1])
  beta = beta @ weights["bias_class.1.weight"] + weights["bias_class.1.bias"]
  return tf.tanh(beta[0] / 5) if normalise else beta[0]


def spread(rows: tf.Tensor, channels: int) -> list[tf.Tensor]:
  """Vectors [N, 64] repeated or cropped to [N, channels], unstacked."""
  return tf.unstack(_repeat(rows[:, :channels], 1, channels))


def _hidden(weights, states, size):
  """[N, hid] -> [N * kh * kw, 256]: the layers before the channels."""
  kh, kw = size
  fc = weights["decoder.fc.0.weight"][:kh, :kw]
  width = fc.shape[-1]
  fc = tf.reshape(fc, [kh * kw, -1, width])
  bias = tf.reshape(weights["decoder.fc.0.bias"][:kh, :kw], [kh * kw, 1, width])
  x = tf.nn.relu(states @ fc + bias)
  x = tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, width])
  x = x @ weights["decoder.conv.0.weight"]
  return tf.nn.relu(x + weights["decoder.conv.0.bias"])


def _channels(weights, hidden, i, o):
  """[P, 256] -> [P, i * o]: the first i input and o output channels."""
  kernel = weights["decoder.conv.2.weight"][:, :i, :o]
  bias = weights["decoder.conv.2.bias"][:i, :o]
  kernel = tf.reshape(kernel, [kernel.shape[0], i * o])
  return tf.nn.bias_add(hidden @ kernel, tf.reshape(bias, [i * o]))


def _rows_1d(weights, states):
  for n in (0, 2):
    layer = f"decoder_1d.fc.{n}"
    states = states @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"]
    states = tf.nn.relu(states) if n == 0 else states
  return tf.reshape(states, [states.shape[0], 2, -1])


def _finish(block, count, target):
  o, i = target.node_shape[:2]
  block = _repeat(_repeat(block, 3, i), 4, o)
  return tf.unstack(tf.reshape(block, [count, *target.shape]))


def _repeat(x, axis, size):
  """Repeats `x` along `axis` and cuts it off at `size`."""
  have = x.shape[axis]
  if have == size:
    return x
  whole, rest = divmod(size, have)
  part = [slice(None)] * axis + [slice(rest)]
  return tf.concat([x] * whole + ([x[tuple(part)]] if rest else []), axis)


def _grouped(items, key):
  return [(k, list(group)) for k, group in itertools.groupby(items, key)]
