"""Networks quantised anew for every batch, run chain by chain.

For training hypernetworks and evaluating what they predict: ranges and
BatchNorm's statistics are those of the batch on the quantised stream. Each
convolution is run on its quantised input with float weights, its BatchNorm's
mean and variance are taken from what comes out and folded in, and the folded
weights are quantised and run (Section 4.2 of Starting Positions Matter).

The quantisation points are `placement`'s but for concats: a range that is
taken as the tensor appears cannot be shared with tensors still to come. What
only a concat reads is rounded in it; what others read too is rounded with its
own range first.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from qinit.errors import QinitError
from qinit.functional import chains, pointwise
from qinit.functional.chains import Chain
from qinit.functional.forward import node_seed, split_by_node
from qinit.functional.moments import batch_moments
from qinit.functional.traced import Traced
from qinit.graph import ops, rewrite
from qinit.graph.ops import Op
from qinit.graph.spec import INPUT, NetSpec
from qinit.quant import learned
from qinit.quant.affine import Affine, round_half_up, straight_through
from qinit.quant.noise import noise
from qinit.quant.placement import Placement, place
from qinit.quant.quantizers import QUANTIZERS
from qinit.quant.weight_range import WEIGHT_CLIPS

_LINEAR = (ops.Conv, ops.DepthwiseConv, ops.Dense)
_WHOLE = (ops.Flatten, ops.Zero)  # need sizes that a trace lacks


@dataclasses.dataclass(frozen=True)
class Simulation:
  """Widths in bits, and how: a row of QUANTIZERS and one of WEIGHT_CLIPS.

  Where the steps of kernels are learned, the parameters hold
  "node/log_step" beside "node/kernel". The widths may be scalar tensors: all
  of them share their traced functions.

  Raises:
    QinitError: if steps are to be learned where there are none.
  """

  weight_bits: int = 8
  activation_bits: int = 8
  quantizer: str = "simquant"
  weight_clip: str = "absolute"

  def __post_init__(self):
    uniform = QUANTIZERS[self.quantizer].uniform
    if self.weight_clip == "learned" and not uniform:
      raise QinitError(
        f"the {self.quantizer} quantizer has no step to learn: choose another"
        " weight clip than learned"
      )


# Of each chain the quantizer and the weight clip of each of its nodes, and the
# bits of their weights and activations in turn, [2 nodes] in float64.
Plan = Sequence[tuple[tuple[tuple[str, str], ...], np.ndarray | tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Step:
  """A node at work.

  Attributes:
    op: without sizes.
    roles: of its parameters with their ranks, those of its BatchNorm too.
    epsilon: of the BatchNorm to fold; None without one.
    point: "own" to round what comes out over its own range, "kept" over that
      of the chain's input, "" not at all.
    absolute: whether what comes out has 8 bits whatever the width.
    short: whether the batch's statistics have a shorter way (`_short`).
  """

  op: Op
  roles: tuple[tuple[str, int], ...]
  epsilon: float | None
  point: str
  absolute: bool
  short: bool

  @property
  def rectified(self) -> bool:
    """Whether the op is a ReLU, to be rounded in one pass with it over a range
    that begins at 0."""
    return self.point == "own" and self.op == ops.Relu()


class Simulated:
  """A network to be quantised; raises QuantError if a BatchNorm cannot be
  folded.

  Args:
    spec: with its BatchNorms.
    input_range: the fixed range of its images.
  """

  def __init__(self, spec: NetSpec, input_range: tuple[float, float]):
    self.placement: Placement = place(rewrite.fold_spec(spec))
    self.chains = chains.chains(self.placement.spec)
    self._spec, self._input_range = spec, input_range
    self._folds = {
      fold.conv: (name, fold)
      for name, folds in rewrite.fold_plan(spec).items()
      for fold in folds
    }
    self._points = _points(self.placement)

  def forward(
    self,
    params: Mapping,
    x,
    simulation: Simulation | Mapping[str, Simulation],
    training: bool = False,
    seed=None,
  ):
    """Logits of images `x` [B, H, W, C], differentiable in `params`, which
    are those of the spec, without moving statistics.

    Args:
      simulation: of all nodes, or of each by its name.
      training: with dropout.
      seed: two integers, for dropout and noise; without one, what is noise in
        training is rounding.
    """
    return self.run(params, x, self.plan(simulation), training, seed)

  def plan(self, simulation: Simulation | Mapping[str, Simulation]) -> Plan:
    """What `run` takes, of what `forward` takes."""
    return [_chain_plan(chain, simulation) for chain in self.chains]

  def run(self, params: Mapping, x, plan: Plan, training: bool, seed):
    """As `forward`; the widths of the plan may be tensors."""
    own = self._with_norms(params)
    values = {INPUT: _rounded_input(x, self._input_range)}
    for chain, (kinds, bits) in zip(self.chains, plan, strict=True):
      if seed is None:
        kinds = tuple((_noiseless(name), clip) for name, clip in kinds)
      values[chain.output] = self._run(
        chain,
        own,
        [values[i] for i in chain.inputs],
        kinds,
        bits,
        training,
        seed,
      )
    return values[self.placement.output][0]

  def input_statistics(self, params: Mapping, x) -> dict[str, tf.Tensor]:
    """Mean and variance of each convolution of images `x` [B, H, W, C] that
    has a BatchNorm, as "node/mean" and "node/variance". No width changes them:
    `forward` takes them among its parameters instead of running that
    convolution twice."""
    x, _ = _rounded_input(x, self._input_range)
    own, found = split_by_node(params), dict[str, tf.Tensor]()
    for conv in self._folds:
      node = self.placement.spec.node(conv)
      if node.inputs == (INPUT,):
        weights, op = own[conv], chains.relaxed(node.op)
        mean, variance = _statistics(op, weights, x, _short(op, weights))
        found |= {f"{conv}/mean": mean, f"{conv}/variance": variance}
    return found

  def _with_norms(self, params):
    """Parameters by node, each convolution with its BatchNorm's."""
    own = split_by_node(params)
    for conv, (norm, fold) in self._folds.items():
      part = slice(fold.start, fold.stop)
      whole = fold.stop - fold.start == own[norm]["gamma"].shape[0]
      own[conv] |= {
        role: own[norm][role] if whole else own[norm][role][part]
        for role in ("gamma", "beta")
      }
    return own

  def _run(self, chain: Chain, own, inputs, kinds, bits, training, seed):
    first = chain.nodes[0]
    if isinstance(first.op, _WHOLE):
      return first.op.apply({}, inputs[0][0]), inputs[0][1]
    weights = [own.get(n.name, {}) for n in chain.nodes]
    steps = tuple(
      self._step(n, w) for n, w in zip(chain.nodes, weights, strict=True)
    )
    seeds = []
    random = any(QUANTIZERS[quantizer].random for quantizer, _ in kinds)
    if random or (training and _drops(steps)):
      seeds = [node_seed(seed, chain.output)]
    xs = [value for value, _ in inputs]
    at_input = chain.inputs[0] == INPUT
    run = _traced(
      steps,
      kinds,
      training,
      at_input,
      len(xs),
      len(xs[0].shape),
      len(seeds),
    )
    return run(xs, inputs[0][1], weights, bits, seeds)

  def _step(self, node, weights):
    fold = self._folds.get(node.name)
    # A group is one tensor: a node within it has its width.
    tensor = self.placement.tensor.get(node.name)
    absolute = tensor is not None and self.placement.absolute(tensor)
    return Step(
      chains.relaxed(node.op),
      tuple((role, len(w.shape)) for role, w in weights.items()),
      self._spec.node(fold[0]).op.epsilon if fold else None,
      self._points.get(node.name, ""),
      absolute,
      fold is not None and _short(node.op, weights),
    )


def _points(placement):
  """Where tensors are rounded: "own" or "kept" (see Step) by node."""
  concats = {
    n.name for n in placement.spec.nodes if isinstance(n.op, ops.Concat)
  }
  points = dict.fromkeys(concats, "own")
  readers = placement.spec.readers()
  for group in placement.groups:
    only_concats = readers[group.name] and concats.issuperset(
      readers[group.name]
    )
    if group.rounds and not only_concats:
      points[group.name] = "kept" if isinstance(group.op, ops.Pool) else "own"
  return points


def _rounded_input(x, bounds):
  """The images at 8 bits and their range (see `_traced`)."""
  affine = Affine.from_range(*bounds, 8)
  lo, hi = (float(v) for v in affine.range)
  x = tf.quantization.fake_quant_with_min_max_vars(x, lo, hi, 8)
  return x, tf.constant([lo, hi, float(affine.scale)])


def _chain_plan(chain, simulation):
  ways = [
    simulation if isinstance(simulation, Simulation) else simulation[node.name]
    for node in chain.nodes
  ]
  bits = [b for way in ways for b in (way.weight_bits, way.activation_bits)]
  kinds = tuple((way.quantizer, way.weight_clip) for way in ways)
  return kinds, np.array(bits, np.float64)


def _noiseless(quantizer):
  """Noise is rounding where there is no seed."""
  return "simquant" if QUANTIZERS[quantizer].random else quantizer


@functools.cache
def _traced(steps, kinds, training, at_input, arity, rank, seeds):
  """The function of all chains of these steps: (xs, range of the first,
  weights, bits, seeds) -> (output, its range). A range is [lo, hi, step],
  `kinds` are the quantizer and the weight clip of each step."""

  def run(xs, bounds, weights, bits, seeds):
    widths, draw = iter(tf.unstack(bits)), _Seeds(seeds)
    xs = [tf.stop_gradient(x) for x in xs] if at_input else xs
    bounds = tf.unstack(bounds)
    for step, kind, own in zip(steps, kinds, weights, strict=True):
      how = Simulation(next(widths), next(widths), *kind)
      x, bounds = _step(step, how, xs, bounds, own, training, draw)
      xs = [x]
    return x, tf.stop_gradient(tf.stack(bounds))

  return Traced(
    run,
    [tf.TensorSpec([None] * rank)] * arity,
    tf.TensorSpec([3]),
    [
      {role: chains.signature(role, n, step.op) for role, n in step.roles}
      for step in steps
    ],
    tf.TensorSpec([2 * len(steps)], tf.float64),
    [tf.TensorSpec([2], tf.int32)] * seeds,
  )


class _Seeds:
  """The seeds of a chain, one after the other."""

  def __init__(self, seeds):
    self._seeds, self._count = seeds, 0

  def __call__(self):
    if not self._seeds:
      return None
    self._count += 1
    # The second counts networks: one more would be the next one's.
    return self._seeds[0] + [self._count, 0]


def _step(step, how, xs, bounds, own, training, draw):
  """Output and range (lo, hi, step) of a node."""
  quantizer = QUANTIZERS[how.quantizer]
  bits = 8 if step.absolute else how.activation_bits
  if step.rectified:
    hi = tf.maximum(tf.reduce_max(xs[0]), 0.0)
    return _rounded(quantizer.rectified, xs[0], 0.0, hi, bits, draw)
  if isinstance(step.op, _LINEAR):
    y = _linear(step, how, xs[0], bounds, own, draw)
  elif isinstance(step.op, ops.Dropout):
    y = step.op.apply({}, xs[0], training=training, seed=draw())
  elif len(xs) == 1:
    y = chains.apply(step.op, {}, xs[0])
  else:
    y = step.op.apply({}, *xs)
  if not step.point:
    return y, bounds
  kept = step.point == "kept"
  lo, hi = bounds[:2] if kept else (tf.reduce_min(y), tf.reduce_max(y))
  return _rounded(quantizer.activations, y, lo, hi, bits, draw)


def _rounded(activations, x, lo, hi, bits, draw):
  """`x` on the grid of its range, and that range."""
  affine = Affine.of_bounds(lo, hi, bits)
  return activations(x, lo, hi, affine, draw()), (lo, hi, affine.scale)


def _linear(step, how, x, bounds, own, draw):
  """Kernel and bias, with the BatchNorm of the batch folded in, quantised."""
  op, quantizer = step.op, QUANTIZERS[how.quantizer]
  role = _kernel_role(own)
  kernel, bias = own[role], own.get("bias")
  if step.epsilon is not None:
    mean, variance = _statistics(op, own, x, step.short)
    norm = (step.epsilon, own["gamma"], own["beta"], mean, variance)
    folded = rewrite.fold_conv({f"/{role}": kernel}, "", *norm)
    kernel, bias = folded[f"/{role}"], folded["/bias"]
  log_step = own.get("log_step")
  kernel, scale = _quantised(kernel, how, draw(), log_step)
  weights = {role: kernel}
  if bias is not None:
    if quantizer.uniform:
      unit = scale * bounds[2]
      bias = straight_through(bias, round_half_up(bias / unit) * unit)
    weights["bias"] = bias
  return _apply_linear(op, weights, x)


def _kernel_role(own):
  return "depthwise_kernel" if "depthwise_kernel" in own else "kernel"


def _short(op, own):
  """Whether `_statistics` needs no convolution."""
  return isinstance(op, ops.Conv) and pointwise.moments_pay(op, own["kernel"])


def _statistics(op, own, x, short):
  """Mean and variance of what the float kernel makes of `x`, if not known."""
  if "mean" in own:
    return own["mean"], own["variance"]
  if short:
    return pointwise.moments(op, own["kernel"], x)
  role = _kernel_role(own)
  return batch_moments(_apply_linear(op, {role: own[role]}, x))


def _quantised(kernel, how, seed, log_step):
  """The kernel on its grid, or with noise about it, and the step; where one
  is learned, e to the `log_step` is a factor on it."""
  quantizer = QUANTIZERS[how.quantizer]
  lo, hi = WEIGHT_CLIPS[how.weight_clip](kernel)
  affine = Affine.of_bounds(lo, hi, how.weight_bits)
  if log_step is None:
    return quantizer.weights(kernel, lo, hi, affine, seed), affine.scale
  # As LSQ: N weights, each with up to 2^n - 1 codes, move the one step.
  levels = tf.cast(affine.levels, tf.float32)
  count = tf.cast(tf.size(kernel), tf.float32) * levels
  log_step = learned.scaled_gradient(log_step, tf.math.rsqrt(count))
  step = affine.scale * tf.exp(log_step)
  zero_point = tf.cast(affine.zero_point, tf.float32)
  if quantizer.random:
    lo, hi = -zero_point * step, (levels - zero_point) * step
    kernel = noise(kernel, lo, hi, step, seed)
  else:
    kernel = learned.lsq(kernel, step, zero_point, how.weight_bits)
  return kernel, step


def _apply_linear(op, weights, x):
  if isinstance(op, ops.Conv) and "bias" not in weights:
    return chains.apply(dataclasses.replace(op, use_bias=False), weights, x)
  return chains.apply(op, weights, x)


def _drops(steps):
  return any(isinstance(step.op, ops.Dropout) for step in steps)
