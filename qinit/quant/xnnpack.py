"""XNNPACK's unsigned 8-bit arithmetic (microparams-init.c, and TensorFlow
Lite's own kernel for average pooling), on float32 tensors of q - Z."""

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qinit.graph import kernels, ops
from qinit.quant.affine import Affine
from qinit.quant.placement import Group
from qinit.quant.quantized import QuantizedNetwork

_EXACT = 1 << 24


def step(group: Group, network: QuantizedNetwork) -> Callable:
  """The group as a function of its inputs' q - Z that returns its own."""
  affine = network.affines[group.name]
  if group.kernel:
    return _linear(group, network)
  sources = [network.affines[name] for name in group.inputs]
  if isinstance(group.op, ops.Add):
    a, b = sources
    return _add(a, b, affine, group.relu)
  if isinstance(group.op, ops.GlobalPool):
    return _mean(sources[0], affine)
  if isinstance(group.op, ops.Pool) and group.op.kind == "avg":
    return _average(group.op, affine)
  return lambda *x: group.op.apply({}, *x)  # moves or selects codes


def clamp(x, affine: Affine, relu: bool = False):
  """Clips q - Z to the codes there are; a ReLU ends at Z."""
  lo = 0.0 if relu else -float(affine.zero_point)
  hi = float(affine.levels - affine.zero_point)
  return tf.raw_ops.ClipByValue(t=x, clip_value_min=lo, clip_value_max=hi)


def _linear(group, network):
  """Convolution and dense: float32(acc) times a float32 multiplier, ties to
  even."""
  weights, x = network.weights[group.name], network.affines[group.inputs[0]]
  kernel = weights.codes.astype(np.float32) - weights.affine.zero_point
  # Captured, for Grappler multiplies a kernel by a constant that follows.
  multiplier = tf.constant(network.multiplier(group))
  accumulate = _accumulator(group, kernel, weights.bias, x)
  affine = network.affines[group.name]

  def run(x):
    return clamp(tf.round(accumulate(x) * multiplier), affine, group.relu)

  return run


def _accumulator(group, kernel, bias, x):
  """acc = bias + sum of products, exact, as float32 of the int32 value."""
  role = group.kernel.rsplit("/", 1)[1]
  depthwise = role == "depthwise_kernel"
  largest = max(x.zero_point, x.levels - x.zero_point)

  def products(x, kernel, bias):
    params = {role: tf.constant(kernel), "bias": tf.cast(bias, tf.float32)}
    return group.op.apply(params, x)

  largest_bias = np.abs(bias, dtype=np.float64).max()
  if _reach(kernel, largest, depthwise) + largest_bias < _EXACT:
    return lambda x: products(x, kernel, bias)
  parts = _parts(kernel, largest, depthwise)

  def accumulate(x):
    total = tf.constant(bias)
    for part in parts:
      y = products(x[..., part], kernel[..., part, :], np.zeros_like(bias))
      total += tf.cast(y, tf.int32)
    return tf.cast(total, tf.float32)

  return accumulate


def _parts(kernel, largest, depthwise):
  """Ranges of input channels whose sums of products stay below 2^24."""
  channels = kernel.shape[-2]
  if depthwise:
    return [slice(0, channels)]
  count = 1
  while True:
    edges = np.linspace(0, channels, count + 1).astype(int)
    parts = [slice(*edge) for edge in itertools.pairwise(edges)]
    if all(_reach(kernel[..., p, :], largest, False) < _EXACT for p in parts):
      return parts
    count += 1


def _reach(kernel, largest, depthwise):
  """The largest absolute value that a partial sum of products can take."""
  taps = (0, 1) if depthwise else tuple(range(kernel.ndim - 1))
  return float(np.abs(kernel).sum(taps, dtype=np.float64).max() * largest)


def _add(a: Affine, b: Affine, y: Affine, relu):
  """Fixed point with 20-bit multipliers, ties up."""
  scales = np.array([a.scale / y.scale, b.scale / y.scale], np.float32)
  shift = 20 - int(np.floor(np.log2(scales.max())))
  by_a, by_b = np.rint(np.ldexp(scales, shift)).astype(np.int32)
  half = np.int32(1 << (shift - 1))

  def run(x1, x2):
    total = tf.cast(x1, tf.int32) * by_a + tf.cast(x2, tf.int32) * by_b
    total = tf.bitwise.right_shift(total + half, np.int32(shift))
    return clamp(tf.cast(total, tf.float32), y, relu)

  return run


def _mean(x: Affine, y: Affine):
  """Float32 on the sum of the stored codes, ties to even after adding Z."""
  z_x, z_y = np.float32(x.stored_zero_point), np.float32(y.stored_zero_point)

  def run(values):
    pixels = np.float32(values.shape[1] * values.shape[2])
    multiplier = x.scale / y.scale * (np.float32(1) / pixels)
    offset = z_y - z_x * pixels * multiplier
    total = tf.reduce_sum(values, [1, 2]) + z_x * pixels
    return clamp(tf.round(total * multiplier + offset) - z_y, y)

  return run


def _average(op: ops.Pool, affine: Affine):
  """(sum of codes + count // 2) // count over the pixels inside."""

  def run(values):
    ones = tf.ones_like(values[:1, :, :, :1])
    count = _window_sum(ones, op)
    total = _window_sum(values + affine.zero_point, op)
    mean = tf.floor((total + tf.floor(count / 2)) / count)
    return mean - affine.zero_point

  return run


def _window_sum(x, op):
  kernel = tf.ones([op.size, op.size, x.shape[-1], 1])
  if op.padding == "same" or op.stride == 1:
    strides = (op.stride, op.stride)
    return kernels.depthwise_conv2d(x, kernel, strides, 1, "same")
  x = kernels.depthwise_conv2d(x, kernel, (1, 1), 1, "same")
  return x[:, :: op.stride, :: op.stride]
