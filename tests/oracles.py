"""The op table once more, in NumPy loops that follow the definitions."""

import itertools

import numpy as np


def output(case, params, inputs):
  """What `case` gives in inference, in float64."""
  params = {k: v.astype(np.float64) for k, v in params.items()}
  inputs = [x.astype(np.float64) for x in inputs]
  return _OUTPUTS[case.op.name](case.op, params, *inputs)


def window_gradients(case, params, x, upstream):
  """d<y, upstream>/dx and /dkernel of a convolution or an average pool."""
  op = case.op
  grad_x = np.zeros_like(x, np.float64)
  if op.name == "pool":
    for out, pixels in _patches(op, x):
      for i, j in pixels.values():
        grad_x[:, i, j] += upstream[:, out[0], out[1]] / len(pixels)
    return grad_x, None
  role = next(k for k in params if k.endswith("kernel"))
  kernel = params[role].astype(np.float64)
  grad_kernel = np.zeros_like(kernel)
  for out, pixels in _patches(op, x):
    g = upstream[:, out[0], out[1]].astype(np.float64)
    for tap, (i, j) in pixels.items():
      if op.name == "conv":
        grad_x[:, i, j] += g @ kernel[tap].T
        grad_kernel[tap] += x[:, i, j].T @ g
      else:
        grad_x[:, i, j] += g * kernel[tap][:, 0]
        grad_kernel[tap][:, 0] += (x[:, i, j] * g).sum(0)
  return grad_x, grad_kernel


def _patches(op, x):
  """((row, column) of the output, {tap: (row, column) of the input})."""
  sizes, strides, dilation = _window(op)
  before, counts = [], []
  for length, k, stride in zip(x.shape[1:3], sizes, strides, strict=True):
    reach = (k - 1) * dilation + 1
    if op.padding == "symmetric":  # PyTorch: reach // 2 on either side
      count = (length + 2 * (reach // 2) - reach) // stride + 1
      pad = reach // 2
    else:  # TensorFlow: as little as possible, the odd one at the end
      count = -(-length // stride)
      pad = max((count - 1) * stride + reach - length, 0) // 2
    before.append(pad)
    counts.append(count)
  for out in itertools.product(*map(range, counts)):
    pixels = {}
    for tap in itertools.product(*map(range, sizes)):
      at = [
        o * s + t * dilation - p
        for o, s, t, p in zip(out, strides, tap, before, strict=True)
      ]
      if 0 <= at[0] < x.shape[1] and 0 <= at[1] < x.shape[2]:
        pixels[tap] = tuple(at)
    yield out, pixels


def _window(op):
  if op.name == "pool":
    return (op.size,) * 2, (op.stride,) * 2, 1
  return op.kernel_size, op.strides, op.dilation


def _slide(op, x, value):
  """Calls value(pixels) for each place of the window."""
  found = {out: value(pixels) for out, pixels in _patches(op, x)}
  rows, columns = (max(axis) + 1 for axis in zip(*found, strict=True))
  return np.array(
    [[found[i, j] for j in range(columns)] for i in range(rows)]
  ).transpose(2, 0, 1, 3)


def _conv(op, params, x):
  kernel = params["kernel"]
  y = _slide(
    op, x, lambda at: sum(x[:, i, j] @ kernel[t] for t, (i, j) in at.items())
  )
  return y + params.get("bias", 0.0)


def _depthwise(op, params, x):
  kernel = params["depthwise_kernel"]
  y = _slide(
    op,
    x,
    lambda at: sum(x[:, i, j] * kernel[t][:, 0] for t, (i, j) in at.items()),
  )
  return y + params.get("bias", 0.0)


def _pool(op, params, x):
  reduce = np.max if op.kind == "max" else np.mean
  return _slide(
    op, x, lambda at: reduce([x[:, i, j] for i, j in at.values()], axis=0)
  )


def _batch_norm(op, params, x):
  sigma = np.sqrt(params["moving_variance"] + op.epsilon)
  return params["gamma"] * (x - params["moving_mean"]) / sigma + params["beta"]


def _flatten(op, params, x):
  x = np.moveaxis(x, -1, 1) if op.order == "chw" else x
  return np.stack([image.ravel() for image in x])


def _slice(op, params, x):
  rows = range(op.offset, x.shape[1], op.stride)
  columns = range(op.offset, x.shape[2], op.stride)
  return np.stack([np.stack([x[:, i, j] for j in columns], 1) for i in rows], 1)


_OUTPUTS = {
  "conv": _conv,
  "depthwise_conv": _depthwise,
  "batch_norm": _batch_norm,
  "relu": lambda op, params, x: np.clip(x, 0, op.ceiling or np.inf),
  "pool": _pool,
  "add": lambda op, params, *xs: np.sum(xs, axis=0),
  "concat": lambda op, params, *xs: np.concatenate(xs, axis=-1),
  "global_pool": lambda op, params, x: x.mean((1, 2)),
  "flatten": _flatten,
  "dense": lambda op, params, x: x @ params["kernel"] + params["bias"],
  "dropout": lambda op, params, x: x,
  "slice": _slice,
  "zero": lambda op, params, x: np.zeros((*x.shape[:3], op.channels)),
}
