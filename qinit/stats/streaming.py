"""Statistics of one layer's tensor from batches, without keeping them."""

import numpy as np

from qinit.stats import tensor
from qinit.stats.distribution import Histogram
from qinit.stats.layerwise import LayerRow
from qinit.stats.moments import Moments, merge, moments

_FINE = 1024
_PIECE = 1 << 17


class LayerStats:
  """Accumulates a tensor that arrives as [..., C] batches.

  The range `lo..hi` of the quantiser is known beforehand, so that one pass
  is enough: the percentiles of each channel are those of its values clipped
  to `lo..hi`, from a histogram of 1024 bins per channel. They are exact to
  (hi - lo) / 1024, which moves the average precision by less than 0.002.
  With percentile 0 the channels' smallest and largest values count, exactly.
  A weight tensor is the case of one batch and percentile 0.

  Args:
    lo: lower end of the quantiser's range.
    hi: upper end.
    percentile: per side, in percent, the share that the calibration clipped.
  """

  def __init__(self, lo: float, hi: float, percentile: float = 0.0):
    if not lo <= hi:
      raise ValueError(f"an empty range {lo}..{hi}")
    if not 0 <= percentile < 50:
      raise ValueError(f"percentile {percentile} is not in 0..50")
    self.lo, self.hi, self.percentile = float(lo), float(hi), percentile
    self._moments = Moments()
    self._signal = self._noise = 0.0
    self._clipped = 0
    self._counts = np.zeros((0, _FINE), np.int64)  # a row a channel
    self._channel_lo = self._channel_hi = np.empty(0)

  def update(self, values: np.ndarray, dequantised: np.ndarray) -> None:
    """Takes a batch of float values and what quantisation made of them."""
    values = np.asarray(values)
    if values.shape != np.shape(dequantised):
      raise ValueError(
        f"values {values.shape} and dequantised {np.shape(dequantised)} differ"
      )
    channels = values.shape[-1]
    flat = values.reshape(-1, channels), np.reshape(dequantised, (-1, channels))
    # In pieces that fit the cache: the float64 copies of a whole batch of
    # early activations would take a gigabyte.
    step = max(1, _PIECE // channels)
    for start in range(0, len(flat[0]), step):
      x, q = (np.float64(f[start : start + step]) for f in flat)
      self._update_totals(x, q)
      self._update_channels(x)

  def result(self, layer: int, name: str, kind: str) -> LayerRow:
    """The row of everything seen so far.

    Raises:
      ValueError: if nothing was.
    """
    if not self._counts.size:
      raise ValueError(f"no values of {name!r} were seen")
    channel_lo, channel_hi = self._channel_percentiles()
    count = self._moments.count
    return LayerRow(
      layer=layer,
      name=name,
      kind=kind,
      range=self.hi - self.lo,
      min=self.lo,
      max=self.hi,
      average_precision=tensor.average_precision(
        channel_lo, channel_hi, self.lo, self.hi
      ),
      kurtosis=self._moments.kurtosis,
      sqnr_db=tensor.decibels(self._signal, self._noise),
      clipped_share=self._clipped / count,
      qmse=self._noise / count,
    )

  def distribution(self) -> Histogram:
    """Where in `lo..hi` the values lay; the end bins hold the clipped."""
    edges = np.linspace(self.lo, self.hi, _FINE + 1)
    return Histogram(edges, self._counts.sum(axis=0)).coarser()

  def _update_totals(self, x, q):
    error = (x - q).ravel()
    self._moments = merge(self._moments, moments(x))
    self._signal += float(x.ravel() @ x.ravel())
    self._noise += float(error @ error)
    self._clipped += int(np.count_nonzero((x < self.lo) | (x > self.hi)))

  def _update_channels(self, x):
    lo, hi = tensor.channel_ranges(x)
    if not self._counts.size:
      self._counts = np.zeros((x.shape[1], _FINE), np.int64)
      self._channel_lo, self._channel_hi = lo, hi
    self._channel_lo = np.minimum(self._channel_lo, lo)
    self._channel_hi = np.maximum(self._channel_hi, hi)
    bins = self._bins(x) + _FINE * np.arange(x.shape[1])
    counts = np.bincount(bins.ravel(), minlength=self._counts.size)
    self._counts += counts.reshape(self._counts.shape)

  def _bins(self, x):
    width = (self.hi - self.lo) / _FINE or 1.0
    inside = np.clip(x, self.lo, self.hi)
    return np.minimum(((inside - self.lo) / width).astype(np.int64), _FINE - 1)

  def _channel_percentiles(self):
    if not self.percentile:
      return self._channel_lo, self._channel_hi
    share = self.percentile / 100
    lo, hi = self._quantile(share), self._quantile(1 - share)
    # Within a bin nothing is known, but the extremes of the channel are.
    return (
      np.clip(lo, self._channel_lo, self._channel_hi),
      np.clip(hi, self._channel_lo, self._channel_hi),
    )

  def _quantile(self, share):
    """For each channel the centre of the bin below which `share` lies."""
    cumulative = np.cumsum(self._counts, axis=1)
    wanted = share * cumulative[:, -1:]
    bins = np.argmax(cumulative >= wanted, axis=1)
    return self.lo + (bins + 0.5) * (self.hi - self.lo) / _FINE
