"""What the decoder has to compute for a meta-batch, and where it goes."""

import dataclasses
import itertools
import math

import numpy as np
import tensorflow as tf

from qinit.graph.ops import Shape

_KERNEL_ROLES = ("kernel", "depthwise_kernel")


@dataclasses.dataclass(frozen=True, slots=True)
class Kernel:
  """A kernel of network `owner`: the row of its node's state, its 4-D shape
  (O, I, kh, kw) in the graph, and its shape in TensorFlow."""

  owner: int
  key: str
  row: int
  node_shape: Shape
  shape: Shape

  @property
  def gain(self) -> float:
    """sqrt(beta / fan_in): beta is 1 for depthwise and 1 x k kernels."""
    _, i, kh, kw = self.node_shape
    single = len(self.shape) > 2 and (i == 1 or kh < kw)
    return math.sqrt((1 if single else 2) / (i * kh * kw))


class Plan:
  """Groups the parameters of a meta-batch by how they are decoded.

  Attributes:
    arrays: the `plan` of `decoder.decode`.
  """

  def __init__(self, specs, graphs, most: int, normalise: bool):
    self._most = most
    self._graphs = graphs
    self._kernels: list[Kernel] = []
    self._heads: list[Kernel] = []
    # (is_beta, channels) -> (network, key, row of the node's state)
    self._vectors: dict[tuple[bool, int], list[tuple[int, str, int]]] = {}
    first = 0
    for b, (spec, graph) in enumerate(zip(specs, graphs, strict=True)):
      self._collect(b, first, spec.param_specs(), graph)
      first += len(graph)
    self._pieces: list[_Piece] = []
    self.arrays = {
      **self._position_arrays(),
      **self._crop_arrays(normalise),
      "vector_index": self._vector_index(),
      "head_rows": np.array([h.row for h in self._heads], np.int32),
      "head_gains": np.array([h.gain for h in self._heads], np.float32),
    }

  def assemble(self, flat, kernels, biases) -> list[dict[str, tf.Tensor]]:
    """The parameters of each network from what `decode` returns."""
    params: list[dict[str, tf.Tensor]] = [{} for _ in self._graphs]
    counts = np.array([math.prod(p.have) for p in self._pieces], np.int32)
    parts = tf.split(flat, counts, num=len(counts)) if len(counts) else []
    for piece, part in zip(self._pieces, parts, strict=True):
      tensors = tf.unstack(_fit(part, piece))
      for (b, key), tensor in zip(piece.owners, tensors, strict=True):
        params[b][key] = tensor
    heads = zip(
      self._heads, tf.unstack(kernels), tf.unstack(biases), strict=True
    )
    for head, kernel, bias in heads:
      own, (width, classes) = params[head.owner], head.shape
      own[head.key] = _repeat(kernel[:, :classes], 0, width)
      own[self._graphs[head.owner].keys[-1][0]] = bias[:classes]
    return [
      {key: own[key] for keys in graph.keys for key in keys}
      for own, graph in zip(params, self._graphs, strict=True)
    ]

  def _collect(self, b, first, shapes, graph):
    node_shapes = [tuple(s) for s in graph.shape.tolist()]
    for v, keys in enumerate(graph.keys[:-1]):
      for key in keys:
        role, shape = key.rsplit("/", 1)[1], shapes[key].shape
        if role in _KERNEL_ROLES:
          kernel = Kernel(b, key, first + v, node_shapes[v], shape)
          self._kernels.append(kernel)
        else:
          group = (role != "gamma", shape[0])
          self._vectors.setdefault(group, []).append((b, key, first + v))
    self._heads.append(self._kernels.pop())

  def _position_arrays(self):
    kernels = self._kernels
    order = sorted(range(len(kernels)), key=lambda n: kernels[n].node_shape[2:])
    groups = _grouped(order, lambda n: kernels[n].node_shape[2:])
    self._places, first = [None] * len(kernels), 0
    for (kh, kw), group in groups:
      starts = first + len(group) * np.arange(kh * kw, dtype=np.int32)
      for k, n in enumerate(group):
        self._places[n] = starts + k
      first += kh * kw * len(group)
    return {
      "sizes": _pairs([size for size, _ in groups]),
      "size_splits": _splits([len(group) for _, group in groups]),
      "rows": np.array([kernels[n].row for n in order], np.int32),
    }

  def _crop_arrays(self, normalise):
    kernels = self._kernels

    def crop(n):
      o, i, *_ = kernels[n].node_shape
      return min(i, self._most), min(o, self._most)

    def alike(n):
      return kernels[n].node_shape, kernels[n].shape

    order = sorted(range(len(kernels)), key=lambda n: (crop(n), alike(n)))
    groups = _grouped(order, crop)
    for (i, o), group in groups:
      for _, same in _grouped(group, alike):
        owners = [(kernels[n].owner, kernels[n].key) for n in same]
        self._pieces.append(_kernel_piece(kernels[same[0]], owners, i, o))
    places = [self._places[n] for n in order]
    gains = [kernels[n].gain if normalise else 1.0 for n in order]
    sizes = [len(p) for p in places]
    return {
      "crops": _pairs([c for c, _ in groups]),
      "crop_splits": _splits(
        [sum(len(self._places[n]) for n in group) for _, group in groups]
      ),
      "places": _joined(places),
      "gains": np.repeat(np.array(gains, np.float32), sizes),
    }

  def _vector_index(self):
    """Elements of [N, 2, 64] that make the vectors, repeated or cropped."""
    index = [np.empty(0, np.int32)]
    for (is_beta, channels), members in self._vectors.items():
      rows = np.array([2 * row + is_beta for _, _, row in members], np.int32)
      columns = np.arange(channels, dtype=np.int32) % self._most
      index.append((rows[:, None] * self._most + columns).ravel())
      shape = (len(members), channels)
      owners = [(b, key) for b, key, _ in members]
      self._pieces.append(_Piece(owners, shape, shape, shape))
    return np.concatenate(index)


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
  """Members of one shape: as decoded, as repeated, as TensorFlow has it."""

  owners: list[tuple[int, str]]
  have: Shape
  whole: Shape
  shape: Shape


def _kernel_piece(kernel, owners, i, o):
  whole_o, whole_i, kh, kw = kernel.node_shape
  rows = len(owners) * kh * kw
  shape = (len(owners), *kernel.shape)
  return _Piece(owners, (rows, i, o), (rows, whole_i, whole_o), shape)


def _fit(part, piece):
  if piece.have != piece.whole:
    part = _reshape(part, piece.have)
    for axis, size in enumerate(piece.whole):
      part = _repeat(part, axis, size)
  return _reshape(part, piece.shape)


def _reshape(x, shape):
  # An array is converted three times faster than a list.
  return tf.reshape(x, np.array(shape, np.int32))


def _repeat(x, axis, size):
  """Repeats `x` along `axis` and cuts it off at `size`."""
  have = x.shape[axis]
  if have == size:
    return x
  whole, rest = divmod(size, have)
  sizes = [*x.shape]
  sizes[axis] = rest
  part = [tf.slice(x, [0] * len(sizes), sizes)] if rest else []
  return tf.concat([x] * whole + part, axis)


def _grouped(items, key):
  return [(k, list(group)) for k, group in itertools.groupby(items, key)]


def _pairs(pairs):
  return np.array(pairs, np.int32).reshape([-1, 2])


def _splits(sizes):
  return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def _joined(arrays):
  return np.concatenate([np.empty(0, np.int32), *arrays])
