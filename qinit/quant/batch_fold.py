"""Quantisation of networks whose BatchNorms use the statistics of the batch.

Predicted networks have no moving statistics. Each convolution is run on its
quantised input with float weights, its BatchNorm's mean and variance are taken
from what comes out and folded in, and the folded weights are quantised and
run: anew for every batch (Section 4.2 of Starting Positions Matter).
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from qinit.functional.forward import Tap
from qinit.graph import rewrite
from qinit.graph.spec import INPUT, NetSpec
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.placement import Placement, place
from qinit.quant.ranges import Observer
from qinit.quant.scheme import Ranges, Scheme


class BatchFolded:
  """A network with batch statistics, and its quantisation points.

  Args:
    spec: with its BatchNorms.
    params: by "node/role", without moving statistics.

  Raises:
    QuantError: if a BatchNorm cannot be folded.
  """

  def __init__(self, spec: NetSpec, params: Mapping):
    self.spec = spec
    self.params = {k: tf.convert_to_tensor(v) for k, v in params.items()}
    self.placement: Placement = place(rewrite.fold_spec(spec))
    self._folds = {
      fold.conv: (name, fold)
      for name, folds in rewrite.fold_plan(spec).items()
      for fold in folds
    }

  def forward(self, x, tap_of: Callable[[dict], Tap]):
    """The logits of a batch `x` [B, H, W, C].

    Args:
      tap_of: makes the tap from the dict of parameters, which is filled with
        those of each convolution, BatchNorm folded in, before it is run.
    """
    params = dict(self.params)
    tap = tap_of(params)
    values = {INPUT: tap("input", INPUT, x)}
    for node in self.placement.spec.nodes:
      inputs = [values[i] for i in node.inputs]
      if node.name in self._folds:
        params |= self._folded(node.name, inputs)
      weights = {
        role: tap("weight", f"{node.name}/{role}", tensor)
        for role, tensor in _own(params, node).items()
      }
      y = node.op.apply(weights, *inputs)
      values[node.name] = tap("activation", node.name, y)
    return values[self.placement.output]

  def calibrate(
    self,
    batches: Iterable,
    clip_percentile: float,
    input_range: tuple[float, float] | None = None,
  ) -> Ranges:
    """The ranges of the float network's activations, each batch with its own
    statistics; raises QuantError for no images or values not finite."""
    observer = Observer(self.placement)
    for images in batches:
      self.forward(images, lambda _: observer)
      observer.wait()
    return observer.ranges(clip_percentile, input_range)

  def logits(
    self, batches: Iterable, ranges: Ranges, scheme: Scheme
  ) -> np.ndarray:
    """Logits [N, classes] of the network at the widths of `scheme`."""

    def tap_of(params):
      return FakeQuant(self.placement, params, ranges, scheme)

    @tf.function(reduce_retracing=True, autograph=False)
    def run(images):
      return self.forward(images, tap_of)

    return np.concatenate([run(images).numpy() for images in batches])

  def _folded(self, conv, inputs):
    name, fold = self._folds[conv]
    node = self.spec.node(conv)
    y = node.op.apply(_own(self.params, node), *inputs)
    mean, variance = tf.nn.moments(y, [0, 1, 2])
    part = slice(fold.start, fold.stop)
    gamma, beta = (self.params[f"{name}/{r}"][part] for r in ("gamma", "beta"))
    epsilon = self.spec.node(name).op.epsilon
    return rewrite.fold_conv(
      self.params, conv, epsilon, gamma, beta, mean, variance
    )


def _own(params, node):
  """The node's parameters by role."""
  keys = (f"{node.name}/{r}" for r in ("kernel", "depthwise_kernel", "bias"))
  return {k.rsplit("/", 1)[1]: params[k] for k in keys if k in params}
