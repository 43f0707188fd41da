"""What quantisation-aware training can be told."""

import dataclasses

import numpy as np

from qinit.errors import QinitError, one_of
from qinit.quant import learned
from qinit.quant.affine import Affine
from qinit.quant.scheme import Scheme
from qinit.quant.tfmot import quantizers

QUANTIZERS = (
  "simquant",
  "noise",
  "noise_step",
  "noise_weights",
  "lsq",
  "tqt",
  "pact",
)
RANGES = ("ema", "absolute", "percentile")


@dataclasses.dataclass(frozen=True)
class QatSettings:
  """Widths, method and ranges.

  Attributes:
    weight_bits, activation_bits: 2 to 8; input and logits always have 8.
    quantizer: "simquant" rounds with a straight-through gradient; "noise" adds
      uniform noise (Eq. 5), "noise_step" with a trained step (Eq. 6);
      "noise_weights" adds it to weights and rounds activations; "lsq", "tqt"
      and "pact" train steps, thresholds and clipping ranges.
    per_channel: a range per output channel for kernels; such a network can be
      trained but not exported to UINT8.
    ranges: of activations that are not learned. "absolute" and "percentile"
      stay as calibrated; "ema" goes on from there with the batches.
    clip_percentile: percent clipped on either side, but for "absolute".
    decay: of the moving average, per step.
    damping: factor of the oscillation damping loss; 0 for none.
    freeze_above: oscillation frequency above which weights are frozen.
    follow_oscillations: whether to keep track of them where nothing is frozen.

  Raises:
    QinitError: for a value out of bounds.
  """

  weight_bits: int = 8
  activation_bits: int = 8
  quantizer: str = "simquant"
  per_channel: bool = False
  ranges: str = "ema"
  clip_percentile: float = 0.0
  decay: float = 0.99
  damping: float = 0.0
  freeze_above: float | None = None
  follow_oscillations: bool = False

  def __post_init__(self):
    one_of("quantizer", self.quantizer, QUANTIZERS)
    one_of("kind of ranges", self.ranges, RANGES)
    if not 0 <= self.decay < 1:
      raise QinitError(f"decay must be at least 0 and below 1: {self.decay}")
    freezes_at = 1 if self.freeze_above is None else self.freeze_above
    if self.damping < 0 or not 0 < freezes_at <= 1:
      raise QinitError(
        "damping must be at least 0 and freeze_above in (0, 1]:"
        f" {self.damping}, {self.freeze_above}"
      )
    _ = self.scheme  # which checks the widths

  @property
  def scheme(self) -> Scheme:
    """The widths and the clipping, as the rest of the library has them."""
    clip = 0.0 if self.ranges == "absolute" else self.clip_percentile
    return Scheme(self.weight_bits, self.activation_bits, clip)

  def for_kernel(self, kernel: np.ndarray, depthwise: bool):
    """The quantizer of a folded kernel."""
    axis = kernel.ndim - (2 if depthwise else 1) if self.per_channel else None
    bits = self.weight_bits
    if self.quantizer in ("lsq", "tqt", "noise_step"):
      return self._kernel_step(np.abs(kernel), axis)
    noisy = self.quantizer in ("noise", "noise_weights")
    return quantizers.OwnRange(bits, noisy, axis)

  def for_activation(
    self,
    bits: int,
    lo: float,
    hi: float,
    slots: int,
    ceiling: float | None = None,
  ):
    """The quantizer of tensors with the calibrated range [lo, hi], whose
    learned range may not pass `ceiling`."""
    if self.quantizer in ("lsq", "noise_step"):
      affine = Affine.from_range(lo, hi, bits)
      return quantizers.LearnedStep(
        bits,
        self._method,
        float(affine.scale),
        affine.zero_point,
        ceiling=ceiling,
      )
    if self.quantizer == "tqt":
      zero_point = 2 ** (bits - 1) if lo < 0 else 0
      step = max(-lo, hi) / (2**bits - zero_point)
      return quantizers.LearnedStep(
        bits, "tqt", step, zero_point, ceiling=ceiling
      )
    if self.quantizer == "pact":
      return quantizers.LearnedClip(bits, lo, hi, ceiling=ceiling)
    return quantizers.TrackedRange(
      bits,
      lo,
      hi,
      self._decay,
      self.scheme.clip_percentile,
      self.quantizer == "noise",
      slots=slots,
    )

  def for_logits(self, bits: int, lo: float, hi: float, slots: int):
    """The quantizer of the logits, whose range clips nothing."""
    return quantizers.TrackedRange(
      bits, lo, hi, self._decay, never_clips=True, slots=slots
    )

  @property
  def _method(self):
    return "noise" if self.quantizer == "noise_step" else self.quantizer

  @property
  def _decay(self):
    return self.decay if self.ranges == "ema" else 1.0

  def _kernel_step(self, magnitude, axis):
    """Symmetric around Z = 2^(n - 1), as LSQ and TQT have it."""
    bits, zero_point = self.weight_bits, 2 ** (self.weight_bits - 1)
    others = tuple(a for a in range(magnitude.ndim) if a != axis)
    if self.quantizer == "lsq":
      mean = magnitude.mean(others)
      step = learned.lsq_initial_step(mean, zero_point, bits)
    else:
      step = magnitude.max(others) / zero_point
    return quantizers.LearnedStep(
      bits, self._method, np.asarray(step).tolist(), zero_point, axis
    )
