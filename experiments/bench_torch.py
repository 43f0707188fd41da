"""Networks there and back, ours beside PyTorch's.

For `experiments.bench --suite=ghn_train` where PyTorch is installed: seconds
tell of the machine, their ratio of the step.
"""

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import torch
from torch.nn import functional

from qinit.functional import chains, lanes
from qinit.functional.forward import split_by_node
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec


def seconds(
  groups: Iterable[Sequence[NetSpec]], images, labels
) -> Iterator[tuple[float, float, float]]:
  """What the losses and gradients of each group of networks take: ours,
  PyTorch's in its default layout, PyTorch's with channels last.

  Args:
    images: [B, H, W, C].
    labels: [B].
  """
  rng = np.random.default_rng(0)
  for specs in groups:
    made = [(spec, random_params(spec, rng)) for spec in specs]
    yield (
      _timed_lanes(made, images, labels),
      _timed(torch_gradients, made, images, labels),
      _timed(torch_gradients, made, images, labels, torch.channels_last),
    )


def random_params(spec: NetSpec, rng) -> dict[str, np.ndarray]:
  """Arrays by "node/role", without BatchNorm's moving statistics."""
  return {
    key: rng.normal(0, 0.1, p.shape).astype(np.float32)
    for key, p in spec.trainable_specs().items()
  }


def gradients(spec: NetSpec, params, images, labels):
  """Loss of a network and its gradients by parameter."""
  params = {key: tf.constant(w) for key, w in params.items()}
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(params)
    logits = chains.forward(spec, params, images, training=True, seed=[0, 0])
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    loss = tf.reduce_mean(losses)
  return loss, tape.gradient(loss, params)


def torch_gradients(
  spec: NetSpec, params, images, labels, layout=torch.contiguous_format
):
  """The same in PyTorch, op by op; gradients are as TensorFlow stores them."""
  weights = {key: _weight(key, w, layout) for key, w in params.items()}
  own = split_by_node(weights)
  x = torch.from_numpy(images).permute(0, 3, 1, 2)
  values = {INPUT: x.contiguous(memory_format=layout)}
  for node in spec.nodes:
    xs = [values[i] for i in node.inputs]
    values[node.name] = _OPS[type(node.op)](
      node.op, own.get(node.name, {}), *xs
    )
  labels = torch.from_numpy(labels)
  loss = functional.cross_entropy(values[spec.output], labels)
  loss.backward()
  found = {key: _stored(key, w.grad) for key, w in weights.items()}
  return loss, found


def _timed_lanes(made, *arguments):
  """Ours, side by side as a training runs them."""
  begin = time.perf_counter()
  lanes.side_by_side(
    lambda one: gradients(*one, *arguments), made, lanes.count()
  )
  return time.perf_counter() - begin


def _timed(run, made, *arguments):
  begin = time.perf_counter()
  for spec, params in made:
    run(spec, params, *arguments)
  return time.perf_counter() - begin


def _weight(key, w, layout):
  """[kh, kw, C, O] as [O, C, kh, kw], depthwise [kh, kw, C, 1] as
  [C, 1, kh, kw], [C, O] as [O, C]."""
  w = torch.from_numpy(w)
  if w.ndim == 4:
    w = w.permute(_order(key)).contiguous(memory_format=layout)
  else:
    w = w.t().contiguous()
  return w.requires_grad_()


def _stored(key, w):
  """A gradient as TensorFlow stores it; None where there is none."""
  if w is None:
    return None
  if w.ndim < 4:
    return w.t()
  return w.permute(tuple(np.argsort(_order(key))))


def _order(key):
  return (2, 3, 0, 1) if key.endswith("depthwise_kernel") else (3, 2, 0, 1)


def _conv(op, own, x):
  deep = isinstance(op, ops.DepthwiseConv)
  return functional.conv2d(
    x,
    own["depthwise_kernel" if deep else "kernel"],
    own.get("bias"),
    op.strides,
    [op.dilation * (k // 2) for k in op.kernel_size],
    op.dilation,
    x.shape[1] if deep else 1,
  )


def _batch_norm(op, own, x):
  return functional.batch_norm(
    x, None, None, own["gamma"], own["beta"], training=True, eps=op.epsilon
  )


def _pool(op, own, x):
  window = (x, op.size, op.stride, op.size // 2)
  if op.kind == "max":
    return functional.max_pool2d(*window)
  return functional.avg_pool2d(*window, count_include_pad=False)


def _dense(op, own, x):
  return functional.linear(x, own["kernel"], own["bias"])


def _slice(op, own, x):
  return x[:, :, op.offset :: op.stride, op.offset :: op.stride]


_OPS = {
  ops.Conv: _conv,
  ops.DepthwiseConv: _conv,
  ops.BatchNorm: _batch_norm,
  ops.Relu: lambda op, own, x: functional.relu(x),
  ops.Pool: _pool,
  ops.Add: lambda op, own, *xs: sum(xs[1:], xs[0]),
  ops.Concat: lambda op, own, *xs: torch.cat(xs, 1),
  ops.Slice: _slice,
  ops.GlobalPool: lambda op, own, x: x.mean((2, 3)),
  ops.Flatten: lambda op, own, x: x.flatten(1),
  ops.Dense: _dense,
  ops.Dropout: lambda op, own, x: functional.dropout(x, op.rate),
}
