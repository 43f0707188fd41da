"""How weights and activations are quantised in training, by name.

Every row takes (x, lo, hi, affine, seed), bounds being scalars and `affine`
their quantisation, and returns x on, or with noise about, the grid of these
bounds. Gradients: noise has its own; the others pass it straight through.
Activations have bounds of their own, so that nothing is clipped and no gradient
stopped: the nudge that puts 0 on the grid leaves the extremes within half a
step of the last code.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from qinit.quant.affine import Affine, straight_through
from qinit.quant.logquant import log_quant
from qinit.quant.noise import error, noise


@dataclasses.dataclass(frozen=True)
class Quantizer:
  """One way of quantising.

  Attributes:
    weights: for kernels, BatchNorm folded in.
    activations: for the outputs of groups, all of which the bounds hold.
    rectified: what `activations` makes of x's ReLU, without a pass over x for
      that alone. The range begins at 0 and ends at or above x's maximum.
    random: whether it draws noise, and so needs a seed.
    uniform: whether codes have one step, so that biases have a grid.
  """

  weights: Callable
  activations: Callable
  rectified: Callable
  random: bool = False
  uniform: bool = True


def simulate(x: tf.Tensor, lo, hi, affine: Affine, seed=None) -> tf.Tensor:
  """`affine.fake_quant`, straight through."""
  lo, hi = affine.range
  inside = tf.raw_ops.ClipByValue(t=x, clip_value_min=lo, clip_value_max=hi)
  return straight_through(x, _on_bytes(inside, affine))


def simulate_inside(
  x: tf.Tensor, lo, hi, affine: Affine, seed=None
) -> tf.Tensor:
  """`simulate` of what lies between the bounds, without clipping it."""
  return straight_through(x, _on_bytes(x, affine))


def simulate_rectified(
  x: tf.Tensor, lo, hi, affine: Affine, seed=None
) -> tf.Tensor:
  """`simulate` of x's ReLU: rounding clips at 0, and the ReLU's gradient is
  all there is, since nothing lies above the range."""

  @tf.custom_gradient
  def rounded(x):
    top = 255 * affine.scale  # codes lie at the bottom of the byte
    y = tf.quantization.fake_quant_with_min_max_vars(x, 0.0, top)
    return y, lambda dy: tf.raw_ops.ReluGrad(gradients=dy, features=x)

  return rounded(x)


def noisy(x: tf.Tensor, lo, hi, affine: Affine, seed) -> tf.Tensor:
  """NoiseQuant (Eq. 5) with the nudged range and step of the rounding that it
  stands for."""
  # A gradient would be traced, and what it needs kept, only to be dropped.
  lo, hi = (tf.stop_gradient(bound) for bound in affine.range)
  return noise(x, lo, hi, affine.scale, seed)


def noisy_inside(x: tf.Tensor, lo, hi, affine: Affine, seed) -> tf.Tensor:
  """`noisy` of what lies between the bounds, without clipping it."""
  return x + error(x, affine.scale, seed)


def noisy_rectified(x: tf.Tensor, lo, hi, affine: Affine, seed) -> tf.Tensor:
  """`noisy_inside` of x's ReLU."""
  return tf.nn.relu(x) + error(x, affine.scale, seed)


def log_through(x: tf.Tensor, lo, hi, affine: Affine, seed=None) -> tf.Tensor:
  """`log_quant`, straight through."""
  return straight_through(x, log_quant(x, lo, hi, affine.bits))


def log_rectified(x: tf.Tensor, lo, hi, affine: Affine, seed=None) -> tf.Tensor:
  """`log_through` of x's ReLU."""
  return log_through(tf.nn.relu(x), lo, hi, affine)


def _on_bytes(x, affine):
  """x on the grid in one fused operation, which knows 8 bits alone whatever
  the width: fewer lie at the top of the byte, as in a file, so that one traced
  function serves all widths. What lies below the range is not clipped."""
  return tf.quantization.fake_quant_with_min_max_vars(x, *affine.stored_range)


QUANTIZERS = {
  "simquant": Quantizer(simulate, simulate_inside, simulate_rectified),
  "noise": Quantizer(noisy, noisy_inside, noisy_rectified, random=True),
  "noise_weights": Quantizer(
    noisy, simulate_inside, simulate_rectified, random=True
  ),
  "log": Quantizer(log_through, log_through, log_rectified, uniform=False),
}
