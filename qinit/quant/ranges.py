"""Ranges of activations, observed on calibration images."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from qinit.errors import QuantError
from qinit.functional import forward
from qinit.graph.spec import INPUT, NetSpec
from qinit.quant import limits
from qinit.quant.placement import Placement, place
from qinit.quant.scheme import Ranges, Scheme

_MANTISSA = 8
_SHIFT = 23 - _MANTISSA
_HALF = 1 << (31 - _SHIFT)


class Histogram:
  """A streaming histogram that needs no range beforehand.

  Bins are the float32 numbers that agree in sign, exponent and the first
  eight bits of the mantissa: 0.4 % wide at any magnitude, 1 MiB in all.
  """

  def __init__(self):
    self.counts = np.zeros(2 * _HALF, np.int64)
    self.lo, self.hi = np.inf, -np.inf

  def add(self, values) -> None:
    """Counts the values of an array of any shape.

    Raises:
      QuantError: for values that are not finite.
    """
    values = np.ascontiguousarray(values, np.float32).ravel()
    lo, hi = float(values.min()), float(values.max())
    if not np.isfinite(lo + hi):
      raise QuantError("an activation is not finite: the network has diverged")
    self.lo, self.hi = min(self.lo, lo), max(self.hi, hi)
    bins = values.view(np.uint32) >> _SHIFT
    counts = np.bincount(bins.view(np.int32))
    self.counts[: len(counts)] += counts

  def percentile(self, percent: float) -> float:
    """The value below which `percent` of the values lie, interpolated
    linearly inside a bin and exact at 0 and 100."""
    # Bins ascend in magnitude: negative ones have to be read backwards.
    counts = np.concatenate(
      [self.counts[: _HALF - 1 : -1], self.counts[:_HALF]]
    )
    below = np.cumsum(counts)
    target = max(percent / 100 * below[-1], 1e-9)  # past the empty bins
    i = int(np.searchsorted(below, target))
    share = (target - (below[i] - counts[i])) / counts[i]
    lo, hi = _edges(i)
    return float(np.clip(lo + share * (hi - lo), self.lo, self.hi))


class Observer:
  """A tap for `functional.forward`, run eagerly on `placement.spec`, that
  keeps a histogram of every quantisation point."""

  def __init__(self, placement: Placement):
    self.placement = placement
    self.histograms = {name: Histogram() for name in placement.points}
    # Counting takes one core; the network goes on beside it.
    self._counting = ThreadPoolExecutor(1)
    self._counts: list[Future] = []

  def __call__(self, kind, name, tensor):
    if kind != "weight" and name in self.histograms:
      count = self._counting.submit(self.histograms[name].add, tensor)
      self._counts.append(count)
    return tensor

  def wait(self) -> None:
    """Until all is counted, and its tensors are let go; raises QuantError as
    `Histogram.add` does."""
    while self._counts:
      self._counts.pop().result()

  def ranges(
    self,
    clip_percentile: float,
    input_range: tuple[float, float] | None = None,
  ) -> Ranges:
    """The range of every point, 0 included: absolute for input and logits,
    else the values between the two percentiles. `input_range` is that of the
    data where it is fixed. Raises QuantError if nothing was observed."""
    self.wait()
    if not self.histograms[INPUT].counts.any():
      raise QuantError("calibration needs at least one image")
    ranges = {
      name: self._range(name, histogram, clip_percentile)
      for name, histogram in self.histograms.items()
    }
    if input_range is not None:
      ranges[INPUT] = tuple(input_range)
    return ranges

  def _range(self, name, histogram, percent):
    if self.placement.absolute(name):
      lo, hi = histogram.lo, histogram.hi
    else:
      lo = histogram.percentile(percent)
      hi = histogram.percentile(100 - percent)
    return min(lo, 0.0), max(hi, 0.0)


def calibrate(
  spec: NetSpec,
  params: Mapping,
  batches: Iterable,
  scheme: Scheme,
  input_range: tuple[float, float] | None = None,
) -> Ranges:
  """The ranges of a network's activations over calibration images.

  Args:
    spec: with its BatchNorms folded, and its `params`.
    batches: arrays of images [B, H, W, C].
    input_range: the fixed range of the data; by default that of `batches`.

  Returns:
    (lo, hi) by quantisation point, kept to what the runtime accepts.

  Raises:
    QuantError: for no images, or activations that are not finite.
  """
  observer = Observer(place(spec))
  for images in batches:
    forward.forward(observer.placement.spec, params, images, observer)
    observer.wait()
  ranges = observer.ranges(scheme.clip_percentile, input_range)
  return limits.widen(observer.placement, params, ranges, scheme)


def _edges(i):
  """The values between which bin `i` of the ascending order lies."""
  magnitude = i - _HALF if i >= _HALF else _HALF - 1 - i
  near, far = (
    np.uint32(m << _SHIFT).view(np.float32) for m in (magnitude, magnitude + 1)
  )
  return (near, far) if i >= _HALF else (-far, -near)
