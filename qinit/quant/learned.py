"""Quantisation whose step or range is trained: LSQ, TQT and PACT.

All return (q - Z) s with q in 0..2^n - 1, rounding half up. Rounding passes
the gradient straight through; what reaches step or range then follows by
differentiation, and the tests compare it with the papers' formulas.
"""

import math

import tensorflow as tf

from qinit.quant.affine import round_half_up, straight_through


def lsq(x: tf.Tensor, step, zero_point, bits) -> tf.Tensor:
  """Learned Step Size Quantization (Esser et al., 2020; LSQ+ for Z > 0).

  y = round(clip(x / s, -Z, L - Z)) s, L = 2^n - 1, with the gradients
  dy/ds = round(x/s) - x/s inside, -Z below and L - Z above;
  dy/dx = 1 inside and 0 outside.

  Args:
    step: s > 0, a scalar or one per channel, broadcast against `x`.
    zero_point: Z, 0 for what is never negative.
  """
  levels = tf.cast(2.0**bits - 1, x.dtype)
  codes = tf.clip_by_value(x / step, -zero_point, levels - zero_point)
  return straight_through(codes, round_half_up(codes)) * step


def lsq_gradient_scale(count: int, zero_point: float, bits: int) -> float:
  """g = 1 / sqrt(N Q_P): what LSQ multiplies the gradient of the step by.

  Args:
    count: N, the weights, or the activations of one image.
  """
  positive = 2.0**bits - 1 - zero_point
  return 1.0 / math.sqrt(max(count * positive, 1.0))


def lsq_initial_step(mean_magnitude, zero_point: float, bits: int):
  """2 <|x|> / sqrt(Q_P), LSQ's start."""
  return 2.0 * mean_magnitude / math.sqrt(2.0**bits - 1 - zero_point)


def scaled_gradient(x: tf.Tensor, factor: float) -> tf.Tensor:
  """`x` going forward, `factor` times the gradient going back."""
  return tf.stop_gradient(x * (1 - factor)) + x * factor


def tqt_step(log2_threshold: tf.Tensor, signed: bool, bits: int) -> tf.Tensor:
  """The power of two s = 2^ceil(log2 t) / 2^(n - 1), / 2^n where unsigned
  (Trained Quantization Thresholds, Jain et al., 2020).

  ceil passes the gradient, so ds / dlog2 t = s ln 2, and of `lsq` with this
  step dy/dlog2 t = s ln 2 times round(x/s) - x/s inside, -Z below and L - Z
  above, Z = 2^(n - 1) or 0.
  """
  exponent = straight_through(log2_threshold, tf.math.ceil(log2_threshold))
  return tf.exp(math.log(2.0) * exponent) / 2.0 ** (
    bits - 1 if signed else bits
  )


def pact(x: tf.Tensor, lo, hi, bits: int) -> tf.Tensor:
  """PACT (Choi et al., 2018): a clipping range that is trained.

  dy/dhi = 1 where x lies above the range, dy/dx = 1 inside. The paper clips
  what follows a ReLU, lo = 0; here a signed tensor trains its lower end too.
  """
  lo, hi = tf.minimum(lo, 0.0), tf.maximum(hi, 1e-6)
  return tf.quantization.fake_quant_with_min_max_vars(x, lo, hi, bits)
