"""TFMOT quantizers: how one tensor is quantised while a network trains.

Each has `affine`, the quantisation that counts in evaluation and export. In
training it rounds with a straight-through gradient, adds noise, or trains its
own step or range.
"""

import math
import zlib

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from qinit.quant import learned
from qinit.quant.affine import Affine, fake_quant, straight_through
from qinit.quant.noise import noise

PACKAGE = "qinit"
# A range or step may not vanish, and percentiles are taken of so many values.
_LEAST, _SAMPLE = 1e-6, 8192


class _Quantizer(tfmot.quantization.keras.quantizers.Quantizer):
  """Shared by all: rounding in evaluation, and equality by configuration."""

  def __call__(self, inputs, training, weights, **kwargs):
    if training:
      return self.train(inputs, weights, **kwargs)
    return fake_quant(inputs, self.affine(weights, inputs), clipped=True)

  def __eq__(self, other):
    return type(self) is type(other) and self.get_config() == other.get_config()

  __hash__ = object.__hash__


@tf_keras.utils.register_keras_serializable(PACKAGE)
class OwnRange(_Quantizer):
  """For kernels: their own minimum and maximum, anew in every step.

  Args:
    bits: 2 to 8.
    noisy: noise instead of rounding in training (Eq. 5).
    channel_axis: a range for each channel; None for one per tensor.
  """

  def __init__(self, bits: int, noisy: bool = False, channel_axis=None):
    self.bits, self.noisy, self.channel_axis = bits, noisy, channel_axis

  def build(self, tensor_shape, name, layer):
    return _seed(name, layer) if self.noisy else {}

  def train(self, x, weights):
    affine = self.affine(weights, x)
    if not self.noisy:
      return fake_quant(x, affine)
    lo, hi = affine.range
    return noise(x, lo, hi, affine.scale, _next_seed(weights))

  def affine(self, weights, x):
    axes = [a for a in range(len(x.shape)) if a != self.channel_axis]
    keep = self.channel_axis is not None
    lo, hi = (f(x, axes, keepdims=keep) for f in (tf.reduce_min, tf.reduce_max))
    return Affine.of_bounds(lo, hi, self.bits)

  def get_config(self):
    return {
      "bits": self.bits,
      "noisy": self.noisy,
      "channel_axis": self.channel_axis,
    }


@tf_keras.utils.register_keras_serializable(PACKAGE)
class TrackedRange(_Quantizer):
  """For activations: a range that calibration sets and that may follow the
  batches as a moving average.

  Tensors that share a quantisation (`slots`) keep a range each; what counts
  is the widest.

  Args:
    lo, hi: the calibrated range.
    decay: of the moving average; 1 keeps the calibrated range.
    clip_percentile: percent of a batch's values clipped on either side; 0
      also never clips the batch at hand (the logits).
    noisy: noise instead of rounding in training (Eq. 5).
  """

  def __init__(
    self,
    bits: int,
    lo: float,
    hi: float,
    decay: float = 1.0,
    clip_percentile: float = 0.0,
    noisy: bool = False,
    never_clips: bool = False,
    slots: int = 1,
  ):
    self.bits, self.lo, self.hi, self.slots = bits, lo, hi, slots
    self.decay, self.clip_percentile = decay, clip_percentile
    self.noisy, self.never_clips = noisy, never_clips

  def build(self, tensor_shape, name, layer):
    ends = {
      end: layer.add_weight(
        f"{name}_{end}",
        shape=(self.slots,),
        initializer=tf_keras.initializers.Constant(getattr(self, end)),
        trainable=False,
      )
      for end in ("lo", "hi")
    }
    return ends | (_seed(name, layer) if self.noisy else {})

  def train(self, x, weights, slot=0):
    if self.decay < 1:
      self._follow(tf.stop_gradient(x), weights, slot)
    affine = self.affine(weights, x)
    lo, hi = affine.range
    if self.noisy:
      return noise(x, lo, hi, affine.scale, _next_seed(weights))
    return tf.quantization.fake_quant_with_min_max_vars(x, lo, hi, self.bits)

  def affine(self, weights, x):
    lo, hi = tf.reduce_min(weights["lo"]), tf.reduce_max(weights["hi"])
    return Affine.of_bounds(lo, hi, self.bits)

  def get_config(self):
    names = ("bits", "lo", "hi", "decay", "clip_percentile", "noisy")
    names += ("never_clips", "slots")
    return {name: getattr(self, name) for name in names}

  def _follow(self, x, weights, slot):
    here = tf.one_hot(slot, self.slots)
    batch = _bounds(x, self.clip_percentile)
    for end, value, wider in zip(
      ("lo", "hi"), batch, (tf.minimum, tf.maximum), strict=True
    ):
      old = weights[end]
      new = self.decay * old + (1 - self.decay) * value
      if self.never_clips:
        new = wider(new, value)
      old.assign(here * new + (1 - here) * old)


@tf_keras.utils.register_keras_serializable(PACKAGE)
class LearnedStep(_Quantizer):
  """LSQ, TQT or noise with a trained step (Eq. 6).

  Args:
    method: "lsq", "tqt" or "noise".
    step: where training starts, one number or one per channel.
    zero_point: Z, which is not trained.
    ceiling: that the range may not pass, of a ReLU6 say.
  """

  def __init__(
    self,
    bits: int,
    method: str,
    step,
    zero_point: int,
    channel_axis=None,
    ceiling: float | None = None,
  ):
    self.bits, self.method, self.step = bits, method, step
    self.zero_point, self.channel_axis = zero_point, channel_axis
    self.ceiling = ceiling

  def build(self, tensor_shape, name, layer):
    start = np.maximum(np.asarray(self.step, np.float32), _LEAST)
    if self.method == "tqt":
      start = np.log2(start * 2.0**self._power)
    if self.channel_axis is not None:
      shape = np.ones(len(tensor_shape), int)
      shape[self.channel_axis] = -1
      start = start.reshape(shape)
    role = "log2_threshold" if self.method == "tqt" else "step"
    learned_step = layer.add_weight(
      f"{name}_{role}",
      shape=start.shape,
      initializer=_Value(start.tolist()),
      trainable=True,
    )
    zero_point = layer.add_weight(
      f"{name}_zero_point",
      shape=(),
      initializer=tf_keras.initializers.Constant(self.zero_point),
      trainable=False,
    )
    extra = _seed(name, layer) if self.method == "noise" else {}
    return {"step": learned_step, "zero_point": zero_point, **extra}

  def train(self, x, weights, slot=0):
    shape = x.shape if self.channel_axis is not None else x.shape[1:]
    count = math.prod(n or 1 for n in shape) / max(1, np.size(self.step))
    gradient = learned.lsq_gradient_scale(count, self.zero_point, self.bits)
    step = self._step(learned.scaled_gradient(weights["step"], gradient))
    zero_point = weights["zero_point"]
    if self.method != "noise":
      return learned.lsq(x, step, zero_point, self.bits)
    top = 2.0**self.bits - 1 - zero_point
    lo, hi = -zero_point * step, top * step
    return noise(x, lo, hi, step, _next_seed(weights))

  def affine(self, weights, x):
    zero_point = tf.cast(weights["zero_point"], tf.float64)
    return Affine(self._step(weights["step"]), zero_point, self.bits)

  def get_config(self):
    names = ("bits", "method", "step", "zero_point", "channel_axis", "ceiling")
    return {name: getattr(self, name) for name in names}

  @property
  def _power(self):
    return self.bits - 1 if self.zero_point else self.bits

  def _step(self, value):
    if self.method == "tqt":
      most = self.ceiling and math.floor(math.log2(self.ceiling))
      value = _at_most(value, most)
      return learned.tqt_step(value, bool(self.zero_point), self.bits)
    above = 2**self.bits - 1 - self.zero_point
    most = self.ceiling and self.ceiling / above
    return tf.maximum(_at_most(value, most), _LEAST)


@tf_keras.utils.register_keras_serializable(PACKAGE)
class LearnedClip(_Quantizer):
  """PACT for activations: the range is trained, its lower end only where the
  calibrated one lies below 0.

  Args:
    decay: factor of the L2 regularisation of the range's ends.
    ceiling: that the range may not pass.
  """

  def __init__(
    self,
    bits: int,
    lo: float,
    hi: float,
    decay: float = 1e-4,
    ceiling: float | None = None,
  ):
    self.bits, self.lo, self.hi, self.decay = bits, lo, hi, decay
    self.ceiling = ceiling

  def build(self, tensor_shape, name, layer):
    return {
      end: layer.add_weight(
        f"{name}_{end}",
        shape=(),
        initializer=tf_keras.initializers.Constant(getattr(self, end)),
        regularizer=tf_keras.regularizers.L2(self.decay),
        trainable=end == "hi" or self.lo < 0,
      )
      for end in ("lo", "hi")
    }

  def train(self, x, weights, slot=0):
    hi = _at_most(weights["hi"], self.ceiling)
    return learned.pact(x, weights["lo"], hi, self.bits)

  def affine(self, weights, x):
    lo, hi = tf.minimum(weights["lo"], 0.0), tf.maximum(weights["hi"], _LEAST)
    return Affine.of_bounds(lo, _at_most(hi, self.ceiling), self.bits)

  def get_config(self):
    names = ("bits", "lo", "hi", "decay", "ceiling")
    return {name: getattr(self, name) for name in names}


@tf_keras.utils.register_keras_serializable(PACKAGE)
class _Value(tf_keras.initializers.Initializer):
  """An initializer with given values."""

  def __init__(self, value):
    self.value = value

  def __call__(self, shape, dtype=None, **kwargs):
    return tf.reshape(tf.constant(self.value, dtype or tf.float32), shape)

  def get_config(self):
    return {"value": self.value}


def _at_most(value, ceiling):
  """The smaller one; the gradient passes, so that the value can come back."""
  if ceiling is None:
    return value
  return straight_through(value, tf.minimum(value, ceiling))


def _bounds(x, percent):
  """Minimum and maximum of a batch, or percentiles of an even sample of it."""
  if not percent:
    return tf.reduce_min(x), tf.reduce_max(x)
  x = tf.reshape(x, [-1])
  x = tf.sort(x[:: tf.maximum(1, tf.size(x) // _SAMPLE)])
  last = tf.cast(tf.size(x) - 1, tf.float32)
  low = tf.cast(tf.round(percent / 100 * last), tf.int32)
  return x[low], x[tf.size(x) - 1 - low]


def _seed(name, layer):
  """A counter that is saved with the weights: a resumed training draws the
  noise of an undisturbed one."""
  key = zlib.crc32(f"{layer.name}/{name}".encode()) & 0x7FFFFFFF
  counter = layer.add_weight(
    f"{name}_noise",
    shape=(2,),
    dtype=tf.int32,
    initializer=_Value([key, 0]),
    trainable=False,
  )
  return {"seed": counter}


def _next_seed(weights):
  return weights["seed"].assign_add([0, 1], read_value=True)
