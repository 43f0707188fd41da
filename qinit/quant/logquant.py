"""Logarithmic quantisation: every value is a power of two or 0."""

import math

import tensorflow as tf

from qinit.quant.affine import round_half_up


def log_quant(x: tf.Tensor, lo, hi, bits) -> tf.Tensor:
  """sign(x) 2^round(log2 |x|), shape kept; 0 for what is too small.

  What is not finite gives NaN, and so does everything under a bound that is
  not: 0 would hide that a training diverges.

  The exponents end at E = round(log2 max(|lo|, |hi|)); 2^n - 1 of them and 0
  are the codes of n bits, one bit fewer where `lo` is below 0: the sign takes
  it (Miyashita et al., 2016; Section 2.1 of Starting Positions Matter).
  """
  largest = tf.maximum(tf.abs(lo), tf.abs(hi))
  top = round_half_up(_log2(tf.maximum(largest, 1e-30)))
  bits = tf.cast(bits, tf.float32)
  count = tf.where(lo < 0.0, 2.0 ** (bits - 1), 2.0**bits) - 1
  exponent = round_half_up(_log2(tf.maximum(tf.abs(x), 1e-30)))
  value = tf.sign(x) * tf.exp(math.log(2.0) * tf.minimum(exponent, top))
  value = tf.where(exponent > top - count, value, tf.zeros_like(x))
  finite = tf.math.is_finite(x) & tf.math.is_finite(largest)
  return tf.where(finite, value, math.nan)


def _log2(x):
  return tf.math.log(x) / math.log(2.0)
