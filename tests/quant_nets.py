"""Networks for the tests of quantisation and export."""

import dataclasses

import numpy as np

from qinit.graph import ops, rewrite
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.params.initializers import initial_params
from qinit.quant.ranges import calibrate
from qinit.quant.scheme import Scheme

INPUT_RANGE = (-2.0, 2.0)


def cell() -> NetSpec:
  """What a DARTS-style cell holds: pre-activation ReLUs read by several
  nodes, depthwise into pointwise without BatchNorm, dilation, symmetric
  strides, a factorised reduction, pools, an absent state, sums of three,
  concats, and a flatten as PyTorch orders it."""
  wide = dict(padding="symmetric")
  nodes = [
    ("stem", ops.Conv(8, 3), INPUT),
    ("stem_bn", ops.BatchNorm(), "stem"),
    ("relu", ops.Relu(), "stem_bn"),
    ("left_dw", ops.DepthwiseConv(3, 2, dilation=2, **wide), "relu"),
    ("left_pw", ops.Conv(8, 1), "left_dw"),
    ("left_bn", ops.BatchNorm(), "left_pw"),
    ("half1", ops.Conv(4, 1, 2), "relu"),
    ("shift", ops.Slice(1), "relu"),
    ("half2", ops.Conv(4, 1, 2), "shift"),
    ("reduced", ops.Concat(), "half1", "half2"),
    ("reduced_bn", ops.BatchNorm(), "reduced"),
    ("absent", ops.Zero(8), "reduced_bn"),
    ("max", ops.Pool("max", 3, 2, "symmetric"), "stem_bn"),
    ("sum", ops.Add(), "left_bn", "absent", "reduced_bn", "max"),
    ("right_dw", ops.DepthwiseConv(5, 1, dilation=2), "sum"),
    ("right_pw", ops.Conv(8, 1), "right_dw"),
    ("right_bn", ops.BatchNorm(), "right_pw"),
    ("avg", ops.Pool("avg", 3, 1), "sum"),
    ("state", ops.Add(), "right_bn", "avg"),
    ("joined", ops.Concat(), "sum", "state", "absent"),
    ("joined_relu", ops.Relu(), "joined"),
    ("mix", ops.Conv(8, 3, 2, **wide), "joined_relu"),
    ("mix_bn", ops.BatchNorm(), "mix"),
    ("small", ops.Pool("avg", 3, 2, "symmetric"), "mix_bn"),
    ("flat", ops.Flatten("chw"), "small"),
    ("logits", ops.Dense(10), "flat"),
  ]
  return NetSpec(
    (16, 16, 3), tuple(Node(name, op, tuple(i)) for name, op, *i in nodes)
  )


def random_params(spec: NetSpec, seed: int = 0) -> dict:
  """He uniform kernels; biases and BatchNorms random, so that all count."""
  rng = np.random.default_rng(seed)
  params = initial_params(spec, "he_uniform", seed)
  for key, value in params.items():
    role = key.rsplit("/", 1)[1]
    if role in ("gamma", "moving_variance"):
      value[:] = rng.uniform(0.5, 1.5, value.shape)
    elif role in ("beta", "moving_mean", "bias"):
      value[:] = rng.normal(0, 0.2, value.shape)
  return params


def images(spec: NetSpec, count: int = 48, seed: int = 1) -> np.ndarray:
  """Random images [B, H, W, C] inside of `INPUT_RANGE`."""
  rng = np.random.default_rng(seed)
  values = rng.normal(size=(count, *spec.input_shape))
  return np.clip(values, *INPUT_RANGE).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Job:
  """Everything that quantising a network takes."""

  spec: NetSpec
  params: dict
  ranges: dict
  scheme: Scheme

  @property
  def args(self):
    return self.spec, self.params, self.ranges, self.scheme


def job(spec, params=None, x=None, scheme=Scheme()) -> Job:  # noqa: B008
  """Folds and calibrates a network, by default a random one."""
  params = random_params(spec) if params is None else params
  x = images(spec) if x is None else x
  folded, params = rewrite.fold_batch_norm(spec, params)
  ranges = calibrate(folded, params, [x], scheme, INPUT_RANGE)
  return Job(folded, params, ranges, scheme)
