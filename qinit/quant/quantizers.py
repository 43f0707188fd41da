"""How weights and activations are quantised in training, by name.

Every row takes (x, lo, hi, affine, seed), bounds being scalars that hold 0 and
`affine` their quantisation, and returns x on, or with noise about, the grid of
these bounds. Gradients: noise has its own; the others pass it straight through.
Where the bounds are the tensor's own there is nothing outside to stop it for:
the nudge that puts 0 on the grid leaves the extremes within half a step of the
last code.
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
    activations: for the outputs of groups.
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
  """`affine.fake_quant` with a clipped gradient, in one fused operation; the
  gradient takes as long as two roundings."""
  lo, hi = _range(affine)
  return tf.quantization.fake_quant_with_min_max_vars(x, lo, hi, affine.bits)


def simulate_rectified(
  x: tf.Tensor, lo, hi, affine: Affine, seed=None
) -> tf.Tensor:
  """`simulate` of x's ReLU: rounding clips at 0, and the ReLU's gradient is
  all there is, since nothing lies above the range."""

  @tf.custom_gradient
  def rounded(x):
    y = simulate(x, lo, hi, affine)
    return y, lambda dy: tf.raw_ops.ReluGrad(gradients=dy, features=x)

  return rounded(x)


def simulate_through(
  x: tf.Tensor, lo, hi, affine: Affine, seed=None
) -> tf.Tensor:
  """`simulate` whose gradient is that of x everywhere, and costs nothing."""
  return straight_through(x, simulate(x, lo, hi, affine))


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


def _clipped(x, affine):
  """x inside the range, with the gradient of the one operation that rounds;
  passed straight through that operation, it would be run for nothing."""
  lo, hi = _range(affine)

  @tf.custom_gradient
  def clipped(x):
    def gradient(dy):
      return tf.quantization.fake_quant_with_min_max_vars_gradient(
        dy, x, lo, hi, affine.bits
      ).backprops_wrt_input

    return tf.raw_ops.ClipByValue(
      t=x, clip_value_min=lo, clip_value_max=hi
    ), gradient

  return clipped(x)


def _range(affine):
  """Constants: a gradient would be traced, and what it needs kept, only to be
  dropped in the end."""
  lo, hi = affine.range
  return tf.stop_gradient(lo), tf.stop_gradient(hi)


QUANTIZERS = {
  "simquant": Quantizer(simulate_through, simulate_through, simulate_rectified),
  "noise": Quantizer(noisy, noisy, noisy_rectified, random=True),
  "noise_weights": Quantizer(
    noisy, simulate_through, simulate_rectified, random=True
  ),
  "log": Quantizer(log_through, log_through, log_rectified, uniform=False),
}
