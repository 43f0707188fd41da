"""Asymmetric uniform quantisation: r ~ (q - Z) s, with q in 0..2^n - 1."""

import dataclasses

import numpy as np
import tensorflow as tf

_TIE = 1e-9


@dataclasses.dataclass(frozen=True)
class Affine:
  """One tensor's quantisation.

  Attributes:
    scale: s, float32 as a file stores it. Codes are derived from it.
    zero_point: Z, the code of 0.
    bits: n, 2 to 8.

  Affines made by `of_tensor` and `of_bounds` hold tensors instead.
  """

  scale: np.float32
  zero_point: int
  bits: int

  @classmethod
  def from_range(cls, lo: float, hi: float, bits: int) -> "Affine":
    """The quantisation of the range [lo, hi].

        s = (hi - lo) / (2^n - 1)   (Eq. 2 of Starting Positions Matter)
        Z = round(-lo / s)          (Eq. 3)

    Departures: the range is widened to hold 0, whose code is then exact; Z
    comes from float64 and a tie rounds up, where float32 puts [-1, 1] on
    either side; a range without width, which can hold nothing but 0, gets
    that of [0, 1]. The range that the codes span is the nudged one, `range`.
    """
    lo, hi = np.float64(np.float32(lo)), np.float64(np.float32(hi))
    scale, zero_point = _nudged(np, lo, hi, bits)
    return cls(np.float32(scale), int(zero_point), bits)

  @classmethod
  def of_tensor(cls, x: tf.Tensor, bits: int) -> "Affine":
    """The quantisation of a tensor's own minimum and maximum, as constants
    of the graph: no gradient reaches the extreme elements through them."""
    return cls.of_bounds(tf.reduce_min(x), tf.reduce_max(x), bits)

  @classmethod
  def of_bounds(cls, lo: tf.Tensor, hi: tf.Tensor, bits) -> "Affine":
    """`from_range` for tensors of one shape, scalars or a range per channel;
    no gradient reaches the bounds. `bits` may be a scalar too, in float64."""
    lo, hi = (tf.cast(v, tf.float64) for v in (lo, hi))
    scale, zero_point = _nudged(tf, lo, hi, bits)
    scale = tf.stop_gradient(tf.cast(scale, tf.float32))
    return cls(scale, tf.stop_gradient(zero_point), bits)

  @property
  def levels(self) -> int:
    """The largest code, 2^n - 1."""
    return 2**self.bits - 1

  @property
  def range(self):
    """The nudged range: the values of the codes 0 and 2^n - 1."""
    return self.dequantize(0), self.dequantize(self.levels)

  @property
  def stored_range(self):
    """The values of the bytes 0 and 255 in a file: `range`, going on below
    where there are fewer than 8 bits."""
    levels = self.levels
    return self.dequantize(levels - 255), self.dequantize(levels)

  @property
  def stored_zero_point(self) -> int:
    """Z in a file, where codes of n < 8 bits lie at the top of the byte."""
    return self.zero_point + 255 - self.levels

  def quantize(self, x) -> np.ndarray:
    """Codes of an array, any shape: Q = clip(round(x / s) + Z, 0, 2^n - 1).

    Eq. 1 clips x first; then a symmetric range overflows to 2^n (-lo / s is a
    tie). Clipping the codes does not.
    """
    x = np.asarray(x, np.float64) / np.float64(self.scale)
    codes = np.clip(round_half_up(x) + self.zero_point, 0, self.levels)
    return codes.astype(np.uint8)

  def dequantize(self, codes):
    """Values of codes: (q - Z) s, float32."""
    if tf.is_tensor(self.scale):
      return tf.cast(codes - self.zero_point, tf.float32) * self.scale
    codes = np.asarray(codes, np.int32) - self.zero_point
    return codes.astype(np.float32) * self.scale


def round_half_up(x):
  """floor(x + 1/2), for arrays and tensors."""
  return tf.floor(x + 0.5) if tf.is_tensor(x) else np.floor(x + 0.5)


def fake_quant(x: tf.Tensor, affine: Affine, clipped: bool = False):
  """(Q(x) - Z) s in float32, shape kept, with a straight-through gradient.

  Args:
    clipped: whether the gradient stops outside of the nudged range, as is
      usual for activations; the bounds themselves let it pass.
  """
  zero_point = tf.cast(affine.zero_point, tf.float32)
  codes = round_half_up(x / affine.scale) + zero_point
  codes = tf.clip_by_value(codes, 0.0, float(affine.levels))
  if clipped:
    x = tf.clip_by_value(x, *affine.range)
  return straight_through(x, (codes - zero_point) * affine.scale)


def straight_through(x: tf.Tensor, value: tf.Tensor):
  """`value` going forward, the gradient of `x` going back."""
  return _through(x, tf.stop_gradient(value))


@tf.custom_gradient
def _through(x, value):
  return tf.identity(value), lambda dy: (dy, tf.zeros_like(dy))


def _nudged(xp, lo, hi, bits):
  """Scale and zero point in float64; `xp` is numpy or tensorflow."""
  lo = xp.minimum(lo, 0.0)
  width = xp.maximum(hi, 0.0) - lo
  # float32 holds the scale: what would vanish there counts as no width.
  width = xp.where(width < 1e-30, xp.ones_like(width), width)
  scale = width / (2.0**bits - 1)
  return scale, xp.floor(0.5 + _TIE - lo / scale)
