"""Weights that jump to and fro between two codes, and two remedies.

"Overcoming Oscillations in Quantization-Aware Training", Nagel et al. 2022.
"""

import dataclasses

import tensorflow as tf

# A weight oscillates if its code turns back more often than every 200 steps.
OSCILLATING = 0.005


@dataclasses.dataclass(frozen=True)
class State:
  """What is remembered of every weight of a kernel, all float32.

  Attributes:
    code: its integer in the last step.
    direction: the sign of the last change; 0 before the first.
    frequency: moving average of how often it turns back, in [0, 1].
    mean_code: moving average of the integer.
    frozen: 1 where the weight is frozen, else 0.
  """

  code: tf.Tensor
  direction: tf.Tensor
  frequency: tf.Tensor
  mean_code: tf.Tensor
  frozen: tf.Tensor


def follow(
  state: State, codes, momentum: float = 0.01, freeze_above: float | None = None
) -> State:
  """The state after a step whose integer weights are `codes`.

  o = 1 if the code changes against the direction of its last change;
  f = m o + (1 - m) f (Eqs. 4, 5). Where f exceeds `freeze_above` the weight
  freezes at its mean code, rounded (Algorithm 1).
  """
  change = tf.sign(codes - state.code)
  turned = tf.cast(change * state.direction < 0, tf.float32)
  frequency = momentum * turned + (1 - momentum) * state.frequency
  mean_code = momentum * codes + (1 - momentum) * state.mean_code
  frozen = state.frozen
  if freeze_above is not None:
    newly = tf.cast(frequency > freeze_above, tf.float32) * (1 - frozen)
    codes = tf.where(newly > 0, tf.round(mean_code), codes)
    frozen = frozen + newly
  return State(
    code=tf.where(state.frozen > 0, state.code, codes),
    direction=tf.where(change == 0, state.direction, change),
    frequency=frequency,
    mean_code=mean_code,
    frozen=frozen,
  )


def damping(weights: tf.Tensor, quantised: tf.Tensor, lo, hi) -> tf.Tensor:
  """sum (Q(w) - clip(w, lo, hi))^2, which pulls weights to the middle of
  their bin (Eq. 6); no gradient through Q."""
  inside = tf.clip_by_value(weights, lo, hi)
  return tf.reduce_sum(tf.square(tf.stop_gradient(quantised) - inside))


def rate(frequency) -> float:
  """The share of weights that oscillate, in percent."""
  oscillating = tf.cast(
    tf.convert_to_tensor(frequency) > OSCILLATING, tf.float32
  )
  return 100 * float(tf.reduce_mean(oscillating))
