"""What quantisation does to one tensor: pure functions of numpy arrays.

Channels are the last axis throughout; `by_channel` brings a depthwise kernel
into that form.
"""

import math

import numpy as np


def by_channel(kernel: np.ndarray, depthwise: bool = False) -> np.ndarray:
  """The kernel with its output channels last.

  Args:
    kernel: [..., C_in, C_out]; a depthwise one is [H, W, C, M].
    depthwise: whether each of the C M filters is an output channel.
  """
  kernel = np.asarray(kernel)
  return kernel.reshape(*kernel.shape[:-2], -1) if depthwise else kernel


def channel_ranges(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Smallest and largest value of each channel, [C] and [C]."""
  flat = np.asarray(values).reshape(-1, np.shape(values)[-1])
  return flat.min(axis=0), flat.max(axis=0)


def average_precision(channel_lo, channel_hi, lo: float, hi: float) -> float:
  """Average channel precision: mean over channels of

      (channel_hi - channel_lo) / (hi - lo),

  after Nagel et al., Data-Free Quantization, 2019. A channel counts only as
  far as it lies inside `lo..hi`, as the quantiser sees it, so that the value
  is in 0..1. NaN for a constant tensor.
  """
  if hi <= lo:
    return math.nan
  bottom = np.clip(np.float64(channel_lo), lo, hi)
  top = np.clip(np.float64(channel_hi), lo, hi)
  return float(np.mean((top - bottom) / (hi - lo)))


def average_channel_precision(values: np.ndarray) -> float:
  """`average_precision` of a tensor over its own smallest and largest value."""
  lo, hi = channel_ranges(values)
  return average_precision(lo, hi, float(lo.min()), float(hi.max()))


def kurtosis(values: np.ndarray) -> float:
  """Pearson's kurtosis, E[(x - mean)^4] / var^2: 3 for a normal distribution,
  1.8 for a uniform one, NaN for a constant."""
  centred = np.float64(values) - np.mean(values, dtype=np.float64)
  squares = centred * centred
  variance = squares.mean()
  return float(np.mean(squares**2) / variance**2) if variance else math.nan


def sqnr_db(values: np.ndarray, approximations: np.ndarray) -> float:
  """Signal-to-quantisation-noise ratio in decibels,

      10 log10(sum x^2 / sum (x - q)^2).

  Infinite where nothing was lost, NaN where there is no signal either.
  """
  x, q = np.float64(values), np.float64(approximations)
  return decibels(np.sum(x * x), np.sum((x - q) ** 2))


def decibels(signal: float, noise: float) -> float:
  """10 log10(signal / noise): infinite without noise, NaN for 0 / 0."""
  if noise == 0.0:
    return math.inf if signal else math.nan
  return 10.0 * math.log10(signal / noise) if signal else -math.inf


def clipped_share(values: np.ndarray, lo: float, hi: float) -> float:
  """The share of values below `lo` or above `hi`, in 0..1."""
  values = np.asarray(values)
  return float(np.mean((values < lo) | (values > hi)))


def quantised_mse(values: np.ndarray, approximations: np.ndarray) -> float:
  """Mean of (x - q)^2."""
  return float(np.mean((np.float64(values) - approximations) ** 2))
