"""One table of op examples, from which every conformance test is made."""

import dataclasses

import numpy as np

from qinit.graph.ops import (
  Add,
  BatchNorm,
  Concat,
  Conv,
  Dense,
  DepthwiseConv,
  Dropout,
  Flatten,
  GlobalPool,
  Op,
  Pool,
  Relu,
  Shape,
  Slice,
  Zero,
)

BATCH = 3
_ODD, _EVEN, _WIDE = (7, 7, 3), (6, 6, 3), (5, 8, 2)


@dataclasses.dataclass(frozen=True)
class Case:
  """An op, the shapes of its inputs and the shape that it must make."""

  op: Op
  shapes: tuple[Shape, ...]
  output: Shape

  @property
  def id(self) -> str:
    own = {k: v for k, v in self.op.to_dict().items() if k != "op"}
    settings = [f"{k}={v}".replace(" ", "") for k, v in own.items()]
    sizes = ["x".join(map(str, s)) for s in self.shapes]
    return "-".join([self.op.name, *settings, *sizes])

  def inputs(self) -> list[np.ndarray]:
    """Random inputs, negative ones among them, no two values equal."""
    rng = np.random.default_rng(1)
    shapes = [(BATCH, *s) for s in self.shapes]
    return [rng.normal(size=s).astype(np.float32) for s in shapes]

  def params(self) -> dict[str, np.ndarray]:
    """Random parameters; variances are positive."""
    rng = np.random.default_rng(2)
    params = {
      role: rng.normal(size=shape).astype(np.float32)
      for role, shape in self.op.param_shapes(*self.shapes).items()
    }
    if "moving_variance" in params:
      params["moving_variance"] = np.abs(params["moving_variance"]) + 0.3
    return params


def _case(op, *shapes, output):
  return Case(op, shapes, output)


CASES = (
  _case(Conv(4), _ODD, output=(7, 7, 4)),
  _case(Conv(4, use_bias=True), _EVEN, output=(6, 6, 4)),
  _case(Conv(4, 1), _ODD, output=(7, 7, 4)),
  _case(Conv(4, 1, 2), _EVEN, output=(3, 3, 4)),
  _case(Conv(4, 3, 2), _ODD, output=(4, 4, 4)),
  _case(Conv(4, 3, 2), _EVEN, output=(3, 3, 4)),
  _case(Conv(4, 5, 2, use_bias=True), _WIDE, output=(3, 4, 4)),
  _case(Conv(2, 3, 3), _WIDE, output=(2, 3, 2)),
  _case(Conv(2, 3, dilation=2), _ODD, output=(7, 7, 2)),
  _case(Conv(2, 3, 2, dilation=2), _EVEN, output=(3, 3, 2)),
  _case(Conv(2, 3, 2, 2, "symmetric", use_bias=True), _EVEN, output=(3, 3, 2)),
  _case(Conv(4, 3, padding="symmetric"), _EVEN, output=(6, 6, 4)),
  _case(Conv(4, 3, 2, padding="symmetric"), _EVEN, output=(3, 3, 4)),
  _case(Conv(4, 3, 2, padding="symmetric"), _ODD, output=(4, 4, 4)),
  _case(
    Conv(2, 7, 2, padding="symmetric", use_bias=True), _WIDE, output=(3, 4, 2)
  ),
  _case(Conv(3, (1, 7)), _WIDE, output=(5, 8, 3)),
  _case(Conv(3, (1, 7), (1, 2)), _WIDE, output=(5, 4, 3)),
  _case(Conv(3, (7, 1), (2, 1)), _WIDE, output=(3, 8, 3)),
  _case(Conv(3, (1, 7), (1, 2), 1, "symmetric"), _WIDE, output=(5, 4, 3)),
  _case(Conv(3, (7, 1), (2, 1), 1, "symmetric"), _WIDE, output=(3, 8, 3)),
  _case(DepthwiseConv(), _ODD, output=(7, 7, 3)),
  _case(DepthwiseConv(5, use_bias=True), _WIDE, output=(5, 8, 2)),
  _case(DepthwiseConv(3, 2), _EVEN, output=(3, 3, 3)),
  _case(DepthwiseConv(3, 2), _ODD, output=(4, 4, 3)),
  _case(DepthwiseConv(3, dilation=2), _ODD, output=(7, 7, 3)),
  _case(DepthwiseConv(5, dilation=2, use_bias=True), _EVEN, output=(6, 6, 3)),
  _case(DepthwiseConv(3, 2, 2), _EVEN, output=(3, 3, 3)),
  _case(DepthwiseConv(3, 2, 2), _ODD, output=(4, 4, 3)),
  _case(DepthwiseConv(3, 1, 1, "symmetric"), _EVEN, output=(6, 6, 3)),
  _case(DepthwiseConv(3, 2, 1, "symmetric"), _EVEN, output=(3, 3, 3)),
  _case(DepthwiseConv(7, 2, 1, "symmetric", True), _WIDE, output=(3, 4, 2)),
  _case(DepthwiseConv(3, 1, 2, "symmetric"), _EVEN, output=(6, 6, 3)),
  _case(DepthwiseConv(3, 2, 2, "symmetric"), _EVEN, output=(3, 3, 3)),
  _case(DepthwiseConv(5, 2, 2, "symmetric", True), _ODD, output=(4, 4, 3)),
  _case(DepthwiseConv((1, 5), 2, 1, "symmetric"), _WIDE, output=(3, 4, 2)),
  _case(BatchNorm(), _ODD, output=_ODD),
  _case(BatchNorm(epsilon=1e-5, momentum=0.9), _EVEN, output=_EVEN),
  _case(BatchNorm(), (5,), output=(5,)),
  _case(Relu(), _ODD, output=_ODD),
  _case(Relu(), (5,), output=(5,)),
  _case(Relu(1), _ODD, output=_ODD),
  _case(Pool(), _ODD, output=_ODD),
  _case(Pool("max", 3, 2), _EVEN, output=(3, 3, 3)),
  _case(Pool("max", 3, 2), _ODD, output=(4, 4, 3)),
  _case(Pool("max", 5, 1, "symmetric"), _EVEN, output=_EVEN),
  _case(Pool("max", 3, 2, "symmetric"), _EVEN, output=(3, 3, 3)),
  _case(Pool("max", 3, 2, "symmetric"), _WIDE, output=(3, 4, 2)),
  _case(Pool("avg"), _ODD, output=_ODD),
  _case(Pool("avg", 3, 2), _EVEN, output=(3, 3, 3)),
  _case(Pool("avg", 3, 1, "symmetric"), _EVEN, output=_EVEN),
  _case(Pool("avg", 3, 2, "symmetric"), _EVEN, output=(3, 3, 3)),
  _case(Pool("avg", 5, 3, "symmetric"), _WIDE, output=(2, 3, 2)),
  _case(Add(), _ODD, _ODD, output=_ODD),
  _case(Add(), _WIDE, _WIDE, _WIDE, output=_WIDE),
  _case(Concat(), _ODD, (7, 7, 2), output=(7, 7, 5)),
  _case(Concat(), (4,), (2,), (1,), output=(7,)),
  _case(GlobalPool(), _WIDE, output=(2,)),
  _case(Flatten(), _WIDE, output=(80,)),
  _case(Flatten("chw"), _WIDE, output=(80,)),
  _case(Dense(4), (6,), output=(4,)),
  _case(Dropout(), _ODD, output=_ODD),
  _case(Dropout(0.25), (6,), output=(6,)),
  _case(Slice(), _WIDE, output=_WIDE),
  _case(Slice(0, 2), _WIDE, output=(3, 4, 2)),
  _case(Slice(1, 2), _WIDE, output=(2, 4, 2)),
  _case(Slice(1, 2), _ODD, output=(3, 3, 3)),
  _case(Slice(1, 1), _EVEN, output=(5, 5, 3)),
  _case(Zero(4), _WIDE, output=(5, 8, 4)),
)
