"""Node states -> parameter tensors (Sections 3.3 and 3.4 of GHN-2's paper).

Everything is computed in TensorFlow's layout and for nothing but the output
channels, input channels and kernel positions that a network has: kernel
positions do not interact, and a crop of the last layer is a slice of its
weights. `decode` is traced once for all networks; the loops in it are over the
kernel sizes and over the crops that a meta-batch happens to have.
"""

import tensorflow as tf

from qinit.ghn.rounding import untouched

_INT = tf.TensorSpec([None], tf.int32)
_PAIR = tf.TensorSpec([None, 2], tf.int32)
_FLOAT = tf.TensorSpec([None], tf.float32)

# What `decode` takes as `plan`; see `plan.Plan`.
PLAN_SIGNATURE = {
  "sizes": _PAIR,
  "size_splits": _INT,
  "rows": _INT,
  "crops": _PAIR,
  "crop_splits": _INT,
  "places": _INT,
  "gains": _FLOAT,
  "vector_index": _INT,
  "head_rows": _INT,
  "head_gains": _FLOAT,
}


def decode(
  weights: dict, normalise: bool, states: tf.Tensor, plan: dict, tap=untouched
):
  """Decodes what `plan` asks for from the node states [N, hid]. `tap` may
  change the hidden layers.

  Returns:
    flat: the kernels [rows of a crop, i * o] crop by crop, scaled by their
      gains, then the vectors: one long vector.
    kernel: [B, 64, classes], the last dense kernels.
    bias: [B, classes], the last biases.
  """
  vectors = _vectors(weights, states, tap)
  head = tf.gather(states, plan["head_rows"])
  last = tf.gather(vectors[:, 1], plan["head_rows"] + 1)
  kernel, bias = _class_kernel(weights, head, tap), _class_bias(weights, last)
  flat = _kernels(weights, states, plan, tap)
  if normalise:
    kernel *= plan["head_gains"][:, None, None]
    bias = tf.tanh(bias / 5)
    gamma, beta = 2 * tf.sigmoid(vectors[:, 0] / 2), tf.tanh(vectors[:, 1] / 5)
    vectors = tf.stack([gamma, beta], 1)
  vectors = tf.gather(tf.reshape(vectors, [-1]), plan["vector_index"])
  return tf.concat([flat, vectors], 0), kernel, bias


def _kernels(weights, states, plan, tap):
  hidden = _positions(weights, states, plan, tap)
  kernel, bias = (weights[f"decoder.conv.2.{n}"] for n in ("weight", "bias"))
  kernel, bias = tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)
  depth = kernel.shape[0]

  def crop(g, parts):
    i, o = plan["crops"][g, 0], plan["crops"][g, 1]
    own = slice(plan["crop_splits"][g], plan["crop_splits"][g + 1])
    x = tf.gather(hidden, plan["places"][own])
    x = x @ tf.reshape(kernel[:, :i, :o], [depth, i * o])
    x = x + tf.reshape(bias[:i, :o], [1, i * o])
    x = x * plan["gains"][own][:, None]
    return g + 1, parts.write(g, tf.reshape(x, [-1]))

  return _each(tf.shape(plan["crops"])[0], crop, [None])


def _positions(weights, states, plan, tap):
  """The decoder's hidden layer [P, 256] at every kernel position of every
  target: size by size, in a size position by position."""
  fc, bias = (weights[f"decoder.fc.0.{n}"] for n in ("weight", "bias"))
  fc, bias = tf.convert_to_tensor(fc), tf.convert_to_tensor(bias)
  hid, width = fc.shape[2:]

  def size(g, parts):
    kh, kw = plan["sizes"][g, 0], plan["sizes"][g, 1]
    own = slice(plan["size_splits"][g], plan["size_splits"][g + 1])
    x = tf.gather(states, plan["rows"][own])
    x = x @ tf.reshape(fc[:kh, :kw], [kh * kw, hid, width])
    x = x + tf.reshape(bias[:kh, :kw], [kh * kw, 1, width])
    return g + 1, parts.write(g, tf.reshape(x, [-1, width]))

  x = _each(tf.shape(plan["sizes"])[0], size, [None, width])
  return _wide(weights, x, tap)


def _wide(weights, x, tap):
  x = tap("decoder.fc", tf.nn.relu(x))
  x = x @ weights["decoder.conv.0.weight"] + weights["decoder.conv.0.bias"]
  return tap("decoder.conv", tf.nn.relu(x))


def _each(count, body, shape):
  """Concatenation of what `body` writes for each group."""
  parts = tf.TensorArray(
    tf.float32, count, infer_shape=False, element_shape=shape
  )
  _, parts = tf.while_loop(lambda g, _: g < count, body, (0, parts))
  return parts.concat()


def _class_kernel(weights, states, tap):
  """The decoded output channels are mixed into one column per class:
  W = relu(w) P + p, [B, 64, classes]."""
  fc, bias = (weights[f"decoder.fc.0.{n}"] for n in ("weight", "bias"))
  x = _wide(weights, states @ fc[0, 0] + bias[0, 0], tap)
  w = tf.tensordot(x, weights["decoder.conv.2.weight"], 1)
  w = tap("decoder.class", tf.nn.relu(w + weights["decoder.conv.2.bias"]))
  name = "decoder.class_layer_predictor.1"
  mixed = tf.tensordot(w, weights[f"{name}.weight"], 1)
  return mixed + weights[f"{name}.bias"]


def _class_bias(weights, vectors):
  x = tf.nn.relu(vectors) @ weights["bias_class.1.weight"]
  return x + weights["bias_class.1.bias"]


def _vectors(weights, states, tap):
  """[N, 2, 64]: the raw gamma and beta of each node."""
  x = states @ weights["decoder_1d.fc.0.weight"]
  x = tap("decoder_1d", tf.nn.relu(x + weights["decoder_1d.fc.0.bias"]))
  x = x @ weights["decoder_1d.fc.2.weight"] + weights["decoder_1d.fc.2.bias"]
  return tf.reshape(x, [-1, 2, x.shape[1] // 2])
