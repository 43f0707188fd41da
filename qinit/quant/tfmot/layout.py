"""Turns a float model into the one that is trained for quantisation."""

from collections.abc import Iterable, Mapping

import numpy as np
import tf_keras

from qinit.errors import QuantError
from qinit.functional.statistics import estimate_moving_stats
from qinit.graph import ops, rewrite
from qinit.graph.spec import INPUT
from qinit.keras.reader import Network
from qinit.quant.placement import Placement, place
from qinit.quant.ranges import calibrate
from qinit.quant.scheme import Ranges
from qinit.quant.tfmot.layers import Quantize, QuantizedLinear
from qinit.quant.tfmot.quantizers import TrackedRange
from qinit.quant.tfmot.settings import QatSettings

SUFFIX = "_quantize"
_BATCH = 128


def build(
  network: Network,
  representative: np.ndarray,
  settings: QatSettings,
  input_range: tuple[float, float] | None = None,
) -> tf_keras.Model:
  """The model in quantisation-aware training, ranges calibrated.

  Linear layers keep their names and weights; "NAME_quantize" rounds the tensor
  NAME. BatchNorms whose statistics are those of a fresh layer, mean 0 and
  variance 1, have them estimated first.

  Args:
    network: the float network.
    representative: images [N, H, W, C] that set the ranges.
    input_range: the fixed range of the data; by default that of the images.

  Raises:
    QuantError: for no images, or a BatchNorm that cannot be folded.
  """
  batches = _batches(representative)
  params = network.params
  if _fresh(params):
    params = {k: v for k, v in params.items() if not _is_moving(k)}
    params = estimate_moving_stats(network.spec, params, batches)
    params = {key: np.asarray(value) for key, value in params.items()}
  folded, weights = rewrite.fold_batch_norm(network.spec, params)
  placement = place(folded)
  ranges = calibrate(folded, weights, batches, settings.scheme, input_range)
  return _Builder(network, params, weights, placement, ranges, settings).model()


class _Builder:
  """Adds the groups of a placement to a Keras model, node after node."""

  def __init__(
    self,
    network: Network,
    params: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    placement: Placement,
    ranges: Ranges,
    settings: QatSettings,
  ):
    self.network, self.params, self.weights = network, params, weights
    self.placement, self.ranges, self.settings = placement, ranges, settings
    self.norms = {
      fold.conv: (norm, fold)
      for norm, folds in rewrite.fold_plan(network.spec).items()
      for fold in folds
    }
    self.slots = _slots(placement)
    self.points = {owner: self._point(owner) for owner in self.slots}
    # By owner, and by node: Keras tensors.
    self.scales: dict[str, object] = {}
    self.values: dict[str, object] = {}

  def model(self) -> tf_keras.Model:
    spec = self.placement.spec
    inputs = tf_keras.Input(spec.input_shape, name=INPUT)
    self._keep(INPUT, inputs)
    group_of = {g.node.name: g for g in self.placement.groups}
    for node in spec.nodes:
      if node.name in self.values:  # a ReLU that its input's group took in
        continue
      values = [self.values[i] for i in node.inputs]
      if isinstance(node.op, ops.Dropout):
        self.values[node.name] = node.op.keras_layer(node.name)(values[0])
        continue
      group = group_of[node.name]
      compute = self._linear if group.kernel else self._other
      self._keep(group.name, compute(group, values))
      self.values[node.name] = self.values[group.name]
    outputs = self.values[spec.output]
    if self.network.softmax:
      outputs = tf_keras.layers.Softmax(name="softmax")(outputs)
    return tf_keras.Model(inputs, outputs, name="quantised")

  def _keep(self, name, value):
    """Rounds a tensor, if it is one that is rounded."""
    owner = self.placement.owner[name]
    if name in self.slots.get(owner, ()):
      slot = self.slots[owner].index(name)
      value, self.scales[owner] = self.points[owner](value, slot=slot)
    self.values[name] = value

  def _linear(self, group, values):
    op = self.network.spec.node(group.node.name).op
    depthwise = isinstance(op, ops.DepthwiseConv)
    params, norm, untrained = self._own(group.node.name)
    layer = QuantizedLinear(
      op,
      self.settings.for_kernel(
        np.asarray(self.weights[group.kernel]), depthwise
      ),
      norm,
      self.placement.ceiling(group) if group.relu else None,
      untrained,
      self.settings.damping,
      self.settings.freeze_above,
      self.settings.follow_oscillations,
      name=group.node.name,
    )
    scale = self.scales[self.placement.owner[group.inputs[0]]]
    y = layer([values[0], scale])
    layer.assign(params)
    return y

  def _other(self, group, values):
    layer = group.op.keras_layer(group.node.name)
    y = layer(values if len(values) > 1 else values[0])
    if not group.relu:
      return y
    return self.placement.spec.node(group.name).op.keras_layer(group.name)(y)

  def _own(self, name):
    """Parameters of a linear layer by role, those of its BatchNorm included;
    the BatchNorm's attributes; the roles that are not trained."""
    keys = {
      key.rsplit("/", 1)[1]: (key, slice(None))
      for key, p in self.network.spec.param_specs().items()
      if p.node == name
    }
    norm = None
    if name in self.norms:
      source, fold = self.norms[name]
      op = self.network.spec.node(source).op
      norm = {"epsilon": op.epsilon, "momentum": op.momentum}
      part = slice(fold.start, fold.stop)
      keys |= {r: (f"{source}/{r}", part) for r in op.param_shapes((1,))}
    params = {r: self.params[key][part] for r, (key, part) in keys.items()}
    frozen = [
      r for r, (key, _) in keys.items() if key in self.network.untrained
    ]
    return params, norm, frozen

  def _point(self, owner):
    lo, hi = (float(end) for end in self.ranges[owner])
    bits = self.placement.bits(owner, self.settings.scheme)
    slots = len(self.slots[owner])
    if owner == self.placement.owner[INPUT]:
      quantizer = TrackedRange(bits, lo, hi, slots=slots)
    elif self.placement.absolute(owner):
      quantizer = self.settings.for_logits(bits, lo, hi, slots)
    else:
      ceiling = self._ceiling(owner)
      quantizer = self.settings.for_activation(bits, lo, hi, slots, ceiling)
    return Quantize(quantizer, name=owner + SUFFIX)

  def _ceiling(self, owner):
    """The lowest ceiling of the ReLUs that share a point; None without one."""
    found = (
      self.placement.ceiling(g)
      for g in self.placement.groups
      if self.placement.owner[g.name] == owner
    )
    return min(filter(None, found), default=None)


def _slots(placement: Placement) -> dict[str, list[str]]:
  """For each quantisation point the tensors to round; where all members move
  codes only (zeros), the first."""
  members: dict[str, list[str]] = {owner: [] for owner in placement.points}
  for name in (INPUT, *(g.name for g in placement.groups)):
    members[placement.owner[name]].append(name)
  rounds = {INPUT, *(g.name for g in placement.groups if g.rounds)}
  return {
    owner: [n for n in names if n in rounds] or names[:1]
    for owner, names in members.items()
  }


def _fresh(params) -> bool:
  moving = {key: value for key, value in params.items() if _is_moving(key)}
  return bool(moving) and all(
    np.all(value == float(key.endswith("variance")))
    for key, value in moving.items()
  )


def _is_moving(key):
  return key.endswith(("/moving_mean", "/moving_variance"))


def _batches(images) -> Iterable[np.ndarray]:
  images = np.asarray(images, np.float32)
  if not images.size:
    raise QuantError(
      "the representative set is empty: give a hundred images or more, as the"
      " network reads them"
    )
  return [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
