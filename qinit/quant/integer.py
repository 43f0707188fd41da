"""The integer-exact simulator: LiteRT with XNNPACK, code for code.

Between groups, tensors hold q - Z as float32. Sums of products are then
ordinary float32 convolutions, exact as long as no partial sum can reach 2^24;
where one could, the input channels are split and the parts added in int32.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from qinit.graph.spec import INPUT, NetSpec
from qinit.quant import xnnpack
from qinit.quant.affine import round_half_up
from qinit.quant.quantized import quantize
from qinit.quant.scheme import Ranges, Scheme


class IntegerNetwork:
  """Runs a BN-folded network in the runtime's integer arithmetic.

  Args:
    spec, params: the folded network.
    ranges: from `ranges.calibrate`.
    scheme: the widths.
    batch_size: images that run at once.

  Raises:
    QuantError: if the network cannot be quantised.
  """

  def __init__(
    self,
    spec: NetSpec,
    params: Mapping,
    ranges: Ranges,
    scheme: Scheme,
    batch_size: int = 128,
  ):
    self.quantized = quantize(spec, params, ranges, scheme)
    self.placement = self.quantized.placement
    self.affines = self.quantized.affines
    self.batch_size = batch_size
    self._steps = {
      g.name: xnnpack.step(g, self.quantized) for g in self.placement.groups
    }
    # Traced once for any batch size; constant weights are folded.
    images = tf.TensorSpec([None, *spec.input_shape], tf.float32)
    traced = tf.function(input_signature=[images], autograph=False)
    self._last, self._all = traced(self._run_last), traced(self._run_all)

  def input_codes(self, images) -> np.ndarray:
    """uint8 codes of images [B, H, W, C]."""
    batches = self._batches(images)
    codes = [self._store(INPUT, self._enter(b)).numpy() for b in batches]
    return np.concatenate(codes)

  def output_codes(self, images) -> np.ndarray:
    """uint8 codes of the logits, [B, classes], for images [B, H, W, C]."""
    batches = [self._last(batch).numpy() for batch in self._batches(images)]
    return np.concatenate(batches)

  def logits(self, images) -> np.ndarray:
    """Dequantised logits, float32 [B, classes]."""
    affine = self.affines[self.placement.output]
    return affine.dequantize(self.output_codes(images))

  def codes(self, images) -> dict[str, np.ndarray]:
    """uint8 codes of the input and of every group's output, by name."""
    batches = [self._all(batch) for batch in self._batches(images)]
    return {
      name: np.concatenate([batch[name].numpy() for batch in batches])
      for name in batches[0]
    }

  def run_node(self, name: str, *codes: np.ndarray) -> np.ndarray:
    """One group's uint8 output codes, given the codes of its inputs."""
    inputs = [
      tf.cast(q, tf.float32) - self.affines[tensor].zero_point
      for tensor, q in zip(
        self.placement.group[name].inputs, codes, strict=True
      )
    ]
    with tf.device("CPU"):
      return self._store(name, self._steps[name](*inputs)).numpy()

  def _batches(self, images):
    for start in range(0, len(images), self.batch_size):
      yield images[start : start + self.batch_size]

  def _run_last(self, images):
    output = self.placement.output
    return self._store(output, self._run(images)[output])

  def _run_all(self, images):
    values = self._run(images)
    return {name: self._store(name, value) for name, value in values.items()}

  def _run(self, images):
    # A GPU may round float32 products to TF32 or convolve by Winograd.
    with tf.device("CPU"):
      values = {INPUT: self._enter(images)}
      for group in self.placement.groups:
        inputs = [values[name] for name in group.inputs]
        values[group.name] = self._steps[group.name](*inputs)
    return values

  def _enter(self, images):
    affine = self.affines[INPUT]
    codes = round_half_up(images / affine.scale)
    return xnnpack.clamp(codes, affine)

  def _store(self, name, value):
    return tf.cast(value + self.affines[name].zero_point, tf.uint8)
