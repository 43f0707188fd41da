"""Keras layers of a network in quantisation-aware training."""

import tensorflow as tf
import tf_keras

from qinit.graph import ops
from qinit.quant import oscillation
from qinit.quant.affine import fake_quant, round_half_up, straight_through
from qinit.quant.oscillation import State
from qinit.quant.tfmot.quantizers import PACKAGE

# Below this a BatchNorm's gamma / sigma counts as this, with its sign.
_LEAST_SCALE = 1e-6


@tf_keras.utils.register_keras_serializable(PACKAGE)
class Quantize(tf_keras.layers.Layer):
  """A quantisation point: x -> (quantised x, its scale).

  Tensors that share a quantisation share the layer; `slot` tells them apart.
  """

  def __init__(self, quantizer, **kwargs):
    super().__init__(**kwargs)
    self.quantizer = _quantizer(quantizer)

  def build(self, input_shape):
    self.state = self.quantizer.build(input_shape, "range", self)
    self.built = True

  @tf.autograph.experimental.do_not_convert  # halves the time of tracing
  def call(self, inputs, slot=0, training=None):
    y = self.quantizer(inputs, bool(training), self.state, slot=slot)
    scale = self.quantizer.affine(self.state, inputs).scale
    return y, tf.stop_gradient(scale)

  def range(self) -> tuple[float, float]:
    """The values of the lowest and the highest code."""
    lo, hi = self.quantizer.affine(self.state, None).range
    return float(lo), float(hi)

  def get_config(self):
    own = {"quantizer": tf_keras.utils.serialize_keras_object(self.quantizer)}
    return super().get_config() | own


@tf_keras.utils.register_keras_serializable(PACKAGE)
class QuantizedLinear(tf_keras.layers.Layer):
  """Convolution, depthwise convolution or dense layer with quantised weights,
  the BatchNorm behind it folded in, and the ReLU behind that.

  In evaluation and export w_f = gamma w / sigma is quantised and the bias
  lies on the int32 grid s_x s_w. In training, sigma being the moving one,

      y = BN(conv(x, Q(w_f) sigma / gamma)),

  which is conv(x, Q(w_f)) corrected from the moving to the batch's
  statistics: the quantiser sees the scale that will be exported, the network
  trains on that of the batch, at the cost of one convolution. The statistics
  are those of the quantised convolution, so that the moving mean takes up the
  shift that rounding the weights brings. After `frozen` is set the moving
  statistics stay and are used in training too.

  Inputs: x [B, H, W, C] or [B, C], and its scale.

  Args:
    op: a row of the op table, or its dictionary.
    quantizer: of the kernel.
    norm: `epsilon` and `momentum` of the BatchNorm; None without one.
    ceiling: of the ReLU; 0 for one without, None for no ReLU.
    untrained: roles of the parameters that training leaves alone.
    damping: factor of the oscillation damping loss.
    freeze_above: oscillation frequency at which a weight is frozen.
    follows: whether to keep track of oscillations.
  """

  def __init__(
    self,
    op,
    quantizer,
    norm=None,
    ceiling=None,
    untrained=(),
    damping=0.0,
    freeze_above=None,
    follows=False,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self.op = ops.from_dict(op) if isinstance(op, dict) else op
    self.quantizer = _quantizer(quantizer)
    self.norm, self.ceiling = norm, ceiling
    self.untrained, self.damping = tuple(untrained), damping
    self.freeze_above, self.follows = freeze_above, follows

  def build(self, input_shape):
    image = tuple(input_shape[0][1:])
    shapes = dict(self.op.param_shapes(image))
    kernel = next(iter(shapes))
    if self.norm:
      out = self.op.output_shape(image)
      shapes |= ops.BatchNorm().param_shapes(out)
    self.params = {role: self._add(role, s) for role, s in shapes.items()}
    self.kernel_role, self.kernel_shape = kernel, shapes[kernel]
    self.state = self.quantizer.build(shapes[kernel], "kernel", self)
    self.frozen = self.add_weight(
      "frozen", shape=(), dtype=tf.bool, initializer="zeros", trainable=False
    )
    self.oscillation = {}
    if self.follows or self.freeze_above is not None:
      self.oscillation = {
        role: self.add_weight(
          role, shape=shapes[kernel], initializer="zeros", trainable=False
        )
        for role in State.__dataclass_fields__
      }
    self.built = True

  def assign(self, params: dict) -> None:
    """Sets the parameters by role; oscillations start anew."""
    for role, value in params.items():
      self.params[role].assign(value)
    if self.oscillation:
      affine, kernel = self._affine_and_kernel()
      codes = _codes(kernel, affine)
      for role in ("code", "mean_code"):
        self.oscillation[role].assign(codes)

  @tf.autograph.experimental.do_not_convert
  def call(self, inputs, training=None):
    x, x_scale = inputs
    if training and self.norm:
      y = self._normalised(x)
    else:
      y = self._folded_in(x, x_scale, training)
    if self.ceiling is None:
      return y
    return ops.Relu(self.ceiling).apply({}, y)

  def exported(self) -> dict:
    """Folded kernel and bias as arrays by role; frozen weights at the value
    at which they are frozen."""
    affine, kernel = self._affine_and_kernel()
    _, bias = self._folded()
    found = {self.kernel_role: self._frozen_weights(kernel, affine).numpy()}
    return found if bias is None else found | {"bias": bias.numpy()}

  def kernel_range(self) -> tuple | None:
    """The range of the kernel's codes; None if it has one per channel."""
    affine, _ = self._affine_and_kernel()
    if affine.scale.shape.num_elements() > 1:
      return None
    return tuple(float(end) for end in affine.range)

  def get_config(self):
    own = {
      "op": self.op.to_dict(),
      "quantizer": tf_keras.utils.serialize_keras_object(self.quantizer),
      "norm": self.norm,
      "ceiling": self.ceiling,
      "untrained": list(self.untrained),
      "damping": self.damping,
      "freeze_above": self.freeze_above,
      "follows": self.follows,
    }
    return super().get_config() | own

  def _add(self, role, shape):
    ones = role in ("gamma", "moving_variance")
    moving = role in ("moving_mean", "moving_variance")
    return self.add_weight(
      role,
      shape=shape,
      initializer="ones" if ones else "zeros",
      trainable=not moving and role not in self.untrained,
    )

  def _scale(self):
    """gamma / sigma by the moving statistics, [channels]."""
    variance = self.params["moving_variance"] + self.norm["epsilon"]
    return self.params["gamma"] / tf.sqrt(variance)

  def _along(self, scale):
    """A factor per output channel, shaped to multiply the kernel."""
    if self.kernel_role == "depthwise_kernel":
      return scale[:, None]
    return scale

  def _folded(self):
    """Kernel and bias with the BatchNorm folded in (Eq. 4)."""
    kernel, bias = self.params[self.kernel_role], self.params.get("bias")
    if not self.norm:
      return kernel, bias
    scale = self._scale()
    shift = 0.0 if bias is None else bias
    shift = (shift - self.params["moving_mean"]) * scale
    return kernel * self._along(scale), self.params["beta"] + shift

  def _folded_in(self, x, x_scale, training):
    kernel, bias = self._folded()
    affine = self.quantizer.affine(self.state, kernel)
    params = {self.kernel_role: self._quantised(kernel, training)}
    if bias is not None:
      params["bias"] = _on_grid(bias, x_scale * affine.scale)
    return self.op.apply(params, x)

  def _normalised(self, x):
    scale = tf.stop_gradient(self._scale())
    sign = tf.where(scale < 0, -1.0, 1.0)
    scale = self._along(sign * tf.maximum(tf.abs(scale), _LEAST_SCALE))
    kernel = self._quantised(self.params[self.kernel_role] * scale, True)
    params = {self.kernel_role: kernel / scale}
    if "bias" in self.params:
      params["bias"] = self.params["bias"]
    y = self.op.apply(params, x)
    return tf.cond(
      self.frozen, lambda: self._by_moving(y), lambda: self._by_batch(y)
    )

  def _by_moving(self, y):
    p = self.params
    return tf.nn.batch_normalization(
      y,
      p["moving_mean"],
      p["moving_variance"],
      p["beta"],
      p["gamma"],
      self.norm["epsilon"],
    )

  def _by_batch(self, y):
    """As tf_keras' fused layer: the moving variance is Bessel-corrected."""
    normalised, mean, variance = tf.compat.v1.nn.fused_batch_norm(
      y,
      self.params["gamma"],
      self.params["beta"],
      epsilon=self.norm["epsilon"],
      is_training=True,
    )
    step = 1 - self.norm["momentum"]
    for role, value in (("moving_mean", mean), ("moving_variance", variance)):
      old = self.params[role]
      old.assign_add(step * (tf.stop_gradient(value) - old))
    return normalised

  def _quantised(self, kernel, training):
    quantised = self.quantizer(kernel, bool(training), self.state)
    if not (self.oscillation or self.damping):
      return quantised
    affine = self.quantizer.affine(self.state, kernel)
    if training and self.damping:
      rounded = fake_quant(kernel, affine)
      loss = oscillation.damping(kernel, rounded, *affine.range)
      self.add_loss(self.damping * loss)
    if training and self.oscillation:
      state = State(**{k: tf.identity(v) for k, v in self.oscillation.items()})
      codes = tf.stop_gradient(_codes(kernel, affine))
      state = oscillation.follow(state, codes, freeze_above=self.freeze_above)
      for role, variable in self.oscillation.items():
        variable.assign(getattr(state, role))
    return self._frozen_weights(quantised, affine)

  def _frozen_weights(self, kernel, affine):
    if not self.oscillation:
      return kernel
    values = affine.dequantize(tf.cast(self.oscillation["code"], tf.float64))
    return tf.where(self.oscillation["frozen"] > 0, values, kernel)

  def _affine_and_kernel(self):
    kernel, _ = self._folded()
    return self.quantizer.affine(self.state, kernel), kernel


def _quantizer(value):
  """A quantizer, or the dictionary that Keras makes of one."""
  if isinstance(value, dict):
    return tf_keras.utils.deserialize_keras_object(value)
  return value


def _codes(kernel, affine):
  codes = round_half_up(kernel / affine.scale)
  codes += tf.cast(affine.zero_point, tf.float32)
  return tf.clip_by_value(codes, 0.0, float(affine.levels))


def _on_grid(bias, scale):
  """The bias in whole multiples of s_x s_w, which int32 holds."""
  scale = tf.reshape(scale, [-1])
  return straight_through(bias, round_half_up(bias / scale) * scale)
