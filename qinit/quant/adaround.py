"""AdaRound: learns which way each weight is rounded (Nagel et al. 2020)."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.spec import NetSpec
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.placement import Group, place
from qinit.quant.quantized import kernel_affine
from qinit.quant.scheme import Ranges, Scheme

# The rectified sigmoid's stretch, the regularisation and its schedule, as in
# the paper's Section 5; its 10,000 steps are `steps` here.
_ZETA, _GAMMA, _LAMBDA, _RATE = 1.1, -0.1, 0.01, 1e-2
_WARMUP, _BETA = 0.2, (20.0, 2.0)
_BATCH = 32


def adaround(
  spec: NetSpec,
  params: Mapping,
  ranges: Ranges,
  scheme: Scheme,
  images: np.ndarray,
  steps: int = 300,
) -> tuple[dict, Ranges]:
  """Parameters whose kernels lie on their grids, rounded up or down so that
  each layer's output stays as it was, and ranges that keep the grids.

  Layer after layer, with x_q from the layers before, already rounded:

      min_V |f(W x) - f(W~ x_q)|^2 + lambda sum(1 - |2 h(V) - 1|^beta),
      W~ = s clip(floor(W / s) + h(V), -Z, L - Z)   (Eqs. 21 to 25)

  Args:
    spec: with its BatchNorms folded, and its `params`.
    images: [N, H, W, C].
    steps: of Adam, for each layer.
  """
  placement = place(spec)
  params = {key: np.array(value) for key, value in params.items()}
  ranges, rounded = dict(ranges), dict(params)
  for group in placement.groups:
    if not group.kernel:
      continue
    source, target = group.inputs[0], group.node.name
    wanted = _tensor(placement, params, images, target)
    tap = FakeQuant(placement, rounded, ranges, scheme)
    x = _tensor(placement, rounded, images, source, tap)
    affine = kernel_affine(group, params[group.kernel], ranges, scheme)
    lo, hi = affine.range
    ranges[group.kernel] = float(lo), float(hi)
    relu = ops.Relu(placement.ceiling(group))
    rounded[group.kernel] = _round(
      group, relu, params, affine, x, wanted, steps
    )
  return rounded, ranges


def _tensor(placement, params, images, name, inner=None):
  """What the network holds at tensor `name` for all images."""
  found = {}

  def tap(kind, key, tensor):
    tensor = tensor if inner is None else inner(kind, key, tensor)
    if kind != "weight" and key == name:
      found[name] = tensor
    return tensor

  @tf.function(autograph=False, reduce_retracing=True)
  def run(batch):
    forward(placement.spec, params, batch, tap)
    return found[name]

  starts = range(0, len(images), 4 * _BATCH)
  return np.concatenate([run(images[i : i + 4 * _BATCH]) for i in starts])


def _round(group: Group, relu, params, affine, x, wanted, steps):
  """The kernel on its grid."""
  kernel = params[group.kernel] / affine.scale
  below = np.floor(kernel)
  share = np.clip((kernel - below - _GAMMA) / (_ZETA - _GAMMA), 0.01, 0.99)
  v = tf.Variable(np.log(share / (1 - share)).astype(np.float32))
  lo, hi = -float(affine.zero_point), float(affine.levels - affine.zero_point)
  optimizer = _Adam(v)
  gradient_of = _gradient(group, relu, params, affine.scale, below, lo, hi)
  order = np.random.Generator(np.random.Philox(0))
  for step in range(steps):
    chosen = order.integers(0, len(x), _BATCH)
    progress = max(0.0, (step / steps - _WARMUP) / (1 - _WARMUP))
    beta = _BETA[0] + (_BETA[1] - _BETA[0]) * progress
    weight = _LAMBDA if step >= _WARMUP * steps else 0.0
    gradient = gradient_of(
      v, x[chosen], wanted[chosen], tf.constant(beta), tf.constant(weight)
    )
    optimizer.step(gradient)
  up = _rectified(v).numpy() >= 0.5
  return np.clip(below + up, lo, hi).astype(np.float32) * affine.scale


def _gradient(group, relu, params, scale, below, lo, hi):
  """The gradient of the objective, traced once for the layer."""
  role = group.kernel.rsplit("/", 1)[1]
  bias = {"bias": params[group.bias]} if group.bias in params else {}

  @tf.function(autograph=False)
  def gradient(v, x, wanted, beta, weight):
    with tf.GradientTape() as tape:
      h = _rectified(v)
      soft = tf.clip_by_value(below + h, lo, hi) * scale
      y = group.op.apply({role: soft, **bias}, x)
      if group.relu:
        y, wanted = relu.apply({}, y), relu.apply({}, wanted)
      axes = list(range(1, len(y.shape)))
      error = tf.reduce_mean(tf.reduce_sum(tf.square(y - wanted), axes))
      error /= tf.cast(tf.reduce_prod(y.shape[1:-1]), tf.float32)
      far = tf.abs(2 * h - 1)
      total = error + weight * tf.reduce_sum(1 - tf.pow(far, beta))
    return tape.gradient(total, v)

  return gradient


def _rectified(v):
  """h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1)."""
  return tf.clip_by_value(tf.sigmoid(v) * (_ZETA - _GAMMA) + _GAMMA, 0.0, 1.0)


class _Adam:
  """Adam for one variable."""

  def __init__(self, variable):
    self.variable, self.count = variable, 0
    self.mean = self.square = tf.zeros_like(variable)

  def step(self, gradient):
    self.count += 1
    self.mean = 0.9 * self.mean + 0.1 * gradient
    self.square = 0.999 * self.square + 0.001 * gradient**2
    mean = self.mean / (1 - 0.9**self.count)
    square = self.square / (1 - 0.999**self.count)
    self.variable.assign_sub(_RATE * mean / (tf.sqrt(square) + 1e-8))
