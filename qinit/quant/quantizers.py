"""How weights and activations are quantised in training, by name.

Every row takes (x, lo, hi, affine, seed), bounds being scalars and `affine`
their quantisation, and returns x on, or with noise about, the grid of these
bounds. Gradients: noise has its own; the others pass it straight through. Where
the bounds are the tensor's own there is nothing outside to stop it for: the
nudge that puts 0 on the grid leaves the extremes within half a step of the last
code.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from qinit.quant.affine import Affine, straight_through
from qinit.quant.logquant import log_quant
from qinit.quant.noise import error


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
  return straight_through(x, _on_bytes(_clip(x, affine), affine))


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
  return _clipped(x, affine) + error(x, affine.scale, seed)


def noisy_rectified(x: tf.Tensor, lo, hi, affine: Affine, seed) -> tf.Tensor:
  """`noisy` of x's ReLU, which clips all there is to clip."""
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
  lo, hi = _constant(affine.stored_range)
  return tf.quantization.fake_quant_with_min_max_vars(x, lo, hi)


def _clip(x, affine):
  lo, hi = _constant(affine.range)
  return tf.raw_ops.ClipByValue(t=x, clip_value_min=lo, clip_value_max=hi)


def _clipped(x, affine):
  """x inside the range, with the gradient of the one operation that rounds;
  passed straight through that operation, it would be run for nothing. At 16
  bits, since that operation moves the range by up to half a step."""
  lo, hi = _constant(affine.range)

  @tf.custom_gradient
  def clipped(x):
    def gradient(dy):
      return tf.quantization.fake_quant_with_min_max_vars_gradient(
        dy, x, lo, hi, 16
      ).backprops_wrt_input

    return _clip(x, affine), gradient

  return clipped(x)


def _constant(bounds):
  """A gradient would be traced, and what it needs kept, only to be dropped in
  the end."""
  lo, hi = bounds
  return tf.stop_gradient(lo), tf.stop_gradient(hi)


QUANTIZERS = {
  "simquant": Quantizer(simulate, simulate_inside, simulate_rectified),
  "noise": Quantizer(noisy, noisy, noisy_rectified, random=True),
  "noise_weights": Quantizer(
    noisy, simulate_inside, simulate_rectified, random=True
  ),
  "log": Quantizer(log_through, log_through, log_rectified, uniform=False),
}
