"""Rewrites of a network: folding of BatchNorm and pruning of dead branches."""

import dataclasses
from collections.abc import Mapping

from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec

_CONVS = (ops.Conv, ops.DepthwiseConv)


@dataclasses.dataclass(frozen=True)
class Fold:
  """Channels `start:stop` of a BatchNorm that go into convolution `conv`."""

  conv: str
  start: int
  stop: int


def fold_plan(spec: NetSpec) -> dict[str, tuple[Fold, ...]]:
  """For each BatchNorm that can be folded, the convolutions that take it.

  A BatchNorm folds into the convolution that it alone reads. Behind a concat
  (a factorised reduction) it is split and each part pushed through.
  """
  plan = {}
  for node in spec.nodes:
    if isinstance(node.op, ops.BatchNorm):
      folds = _folds(spec, node.inputs[0])
      if folds:
        plan[node.name] = folds
  return plan


def fold_spec(spec: NetSpec) -> NetSpec:
  """The network without the BatchNorms of `fold_plan`, biases in their place.

  The output of a folded group carries the convolution's (or concat's) name.
  """
  plan = fold_plan(spec)
  biased = {fold.conv for folds in plan.values() for fold in folds}
  renamed, nodes = {}, []
  for node in spec.nodes:
    if node.name in plan:
      renamed[node.name] = node.inputs[0]
      continue
    op = node.op
    if isinstance(op, _CONVS) and node.name in biased:
      op = dataclasses.replace(op, use_bias=True)
    inputs = tuple(renamed.get(i, i) for i in node.inputs)
    nodes.append(dataclasses.replace(node, op=op, inputs=inputs))
  # Where the last BatchNorm went, dead branches must not become the output.
  output = renamed.get(spec.output, spec.output)
  nodes.sort(key=lambda node: node.name == output)
  return NetSpec(spec.input_shape, tuple(nodes))


def fold_batch_norm(spec: NetSpec, params: Mapping) -> tuple[NetSpec, dict]:
  """Folds every BatchNorm into the convolution before it.

  w_fold = gamma w / sqrt(var + eps), b_fold = beta + (b - mean) gamma /
  sqrt(var + eps), with the moving statistics (Eq. 4 of Starting Positions
  Matter). Arrays and tensors both work; tensors stay differentiable.
  """
  params = dict(params)
  norms = {n.name: n.op for n in spec.nodes if isinstance(n.op, ops.BatchNorm)}
  for name, folds in fold_plan(spec).items():
    roles = ("gamma", "beta", "moving_mean", "moving_variance")
    statistics = [params.pop(f"{name}/{role}") for role in roles]
    for fold in folds:
      part = [s[fold.start : fold.stop] for s in statistics]
      params |= fold_conv(params, fold.conv, norms[name].epsilon, *part)
  folded = fold_spec(spec)
  return folded, {key: params[key] for key in folded.param_specs()}


def fold_conv(params, conv, epsilon, gamma, beta, mean, variance) -> dict:
  """Kernel and bias of convolution `conv` with one BatchNorm folded in."""
  scale = gamma / (variance + epsilon) ** 0.5
  bias = params.get(f"{conv}/bias", 0.0)
  folded = {f"{conv}/bias": beta + (bias - mean) * scale}
  if f"{conv}/depthwise_kernel" in params:
    key, factor = f"{conv}/depthwise_kernel", scale[:, None]
  else:
    key, factor = f"{conv}/kernel", scale
  return {key: params[key] * factor, **folded}


def prune(spec: NetSpec) -> NetSpec:
  """Removes the nodes that the output does not depend on."""
  alive = {spec.output}
  for node in reversed(spec.nodes):
    if node.name in alive:
      alive.update(node.inputs)
  return NetSpec(
    spec.input_shape, tuple(n for n in spec.nodes if n.name in alive)
  )


def _folds(spec, source):
  if source == INPUT or len(spec.readers()[source]) != 1:
    return ()
  node = spec.node(source)
  if isinstance(node.op, _CONVS):
    return (Fold(source, 0, spec.shapes()[source][-1]),)
  if not isinstance(node.op, ops.Concat):
    return ()
  folds, start = [], 0
  for part in node.inputs:
    stop = start + spec.shapes()[part][-1]
    if part == INPUT or not isinstance(spec.node(part).op, _CONVS):
      return ()
    if spec.readers()[part] != (source,):
      return ()
    folds.append(Fold(part, start, stop))
    start = stop
  return tuple(folds)
