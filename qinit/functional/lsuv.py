"""Layer-sequential unit-variance initialisation (Mishkin & Matas 2015)."""

import tensorflow as tf

from qinit.functional.forward import forward
from qinit.graph.spec import NetSpec


def lsuv(spec: NetSpec, params: dict, kernels, images) -> dict:
  """Rescales each of `kernels` so that its layer's outputs on `images`
  [B, H, W, C] have unit variance, layer after layer.

  A convolution without bias is linear in its kernel, so scaling its output
  in passing and its kernel afterwards are one and the same: one forward pass
  is exact.
  """
  nodes = {key.rsplit("/", 1)[0]: key for key in kernels}
  scales = {}

  def tap(kind, name, tensor):
    if kind != "activation" or name not in nodes:
      return tensor
    std = tf.math.reduce_std(tensor)
    scale = tf.where(std > 0, 1.0 / std, 1.0)
    scales[nodes[name]] = float(scale)
    return tensor * scale

  forward(spec, params, images, tap=tap)
  return params | {key: params[key] * scales[key] for key in scales}
