"""Random networks for property tests."""

from hypothesis import strategies as st

from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node

_INPUT_SHAPE = (8, 8, 3)


@st.composite
def specs(draw, stray: bool = False) -> NetSpec:
  """Up to a dozen random nodes, each reading any node before it, then global
  pooling and a dense layer; `stray` batch norms, concats of the input and
  ceilings come in places where they cannot be folded or quantised."""
  shapes, nodes = {INPUT: _INPUT_SHAPE}, []

  def add(op, *inputs):
    name = f"n{len(nodes)}"
    nodes.append(Node(name, op, inputs))
    shapes[name] = op.output_shape(*(shapes[i] for i in inputs))
    return name

  for _ in range(draw(st.integers(1, 12))):
    source = draw(st.sampled_from([*shapes][-4:]))
    alike = [n for n in shapes if shapes[n] == shapes[source]]
    flush = [n for n in shapes if shapes[n][:2] == shapes[source][:2]]
    if not stray:
      flush = [n for n in flush if n != INPUT]
    kind = draw(st.sampled_from(_KINDS + _STRAY * stray))
    if kind == "concat" and not flush:
      kind = "conv"
    if kind == "add":
      add(
        ops.Add(),
        *draw(st.lists(st.sampled_from(alike), min_size=2, max_size=3)),
      )
    elif kind == "concat":
      add(
        ops.Concat(),
        *draw(st.lists(st.sampled_from(flush), min_size=2, max_size=3)),
      )
    elif kind == "folded":
      op = draw(st.one_of(_OPS["conv"], _OPS["depthwise"]))
      conv = add(op, source)
      add(draw(_OPS["bn"]), conv)
      del shapes[conv]  # read by nothing else
    else:
      add(draw(_OPS[kind]), source)
  pooled = add(ops.GlobalPool(), draw(st.sampled_from([*shapes][1:])))
  add(ops.Dense(4), pooled)
  return NetSpec(_INPUT_SHAPE, tuple(nodes))


_PADDING = st.sampled_from(["same", "symmetric"])
_OPS = {
  "conv": st.builds(
    ops.Conv,
    st.integers(1, 6),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 2),
    st.integers(1, 2),
    _PADDING,
    st.booleans(),
  ),
  "depthwise": st.builds(
    ops.DepthwiseConv,
    st.sampled_from([3, 5]),
    st.integers(1, 2),
    st.integers(1, 2),
    _PADDING,
    st.booleans(),
  ),
  "bn": st.builds(ops.BatchNorm, st.sampled_from([1e-3, 1e-5])),
  "relu": st.builds(ops.Relu),
  "relu6": st.builds(ops.Relu, st.just(6)),
  "pool": st.builds(
    ops.Pool,
    st.sampled_from(["max", "avg"]),
    st.sampled_from([3, 5]),
    st.integers(1, 2),
    _PADDING,
  ),
  "zero": st.builds(ops.Zero, st.integers(1, 4)),
}
_KINDS = ("conv", "conv", "depthwise", "folded", "folded", "relu", "relu")
_KINDS += ("pool", "add", "concat", "zero")
_STRAY = ("bn", "relu6")
