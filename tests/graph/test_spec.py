import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qinit.errors import SpecError
from qinit.graph import ops, spec
from qinit.graph.spec import INPUT, NetSpec, Node


def net(*nodes, input_shape=(8, 8, 3)):
  return NetSpec(input_shape, tuple(Node(*node) for node in nodes))


def hand_worked():
  """conv 3->4 at stride 2, depthwise, BatchNorm, concat, pool, dense."""
  return net(
    ("conv", ops.Conv(4, 3, 2), (INPUT,)),
    ("dw", ops.DepthwiseConv(5, use_bias=True), ("conv",)),
    ("bn", ops.BatchNorm(), ("dw",)),
    ("cat", ops.Concat(), ("conv", "bn")),
    ("gap", ops.GlobalPool(), ("cat",)),
    ("fc", ops.Dense(10), ("gap",)),
  )


def test_shapes_by_hand():
  assert hand_worked().shapes() == {
    INPUT: (8, 8, 3),
    "conv": (4, 4, 4),
    "dw": (4, 4, 4),
    "bn": (4, 4, 4),
    "cat": (4, 4, 8),
    "gap": (8,),
    "fc": (10,),
  }


def test_parameters_by_hand():
  shapes = {k: p.shape for k, p in hand_worked().param_specs().items()}
  assert shapes == {
    "conv/kernel": (3, 3, 3, 4),
    "dw/depthwise_kernel": (5, 5, 4, 1),
    "dw/bias": (4,),
    "bn/gamma": (4,),
    "bn/beta": (4,),
    "bn/moving_mean": (4,),
    "bn/moving_variance": (4,),
    "fc/kernel": (8, 10),
    "fc/bias": (10,),
  }
  # 108 + 100 + 4 + 8 + 90; moving statistics are not trained.
  assert hand_worked().num_params() == 310


def test_moving_statistics_are_not_trainable():
  every, trained = hand_worked().param_specs(), hand_worked().trainable_specs()
  assert set(every) - set(trained) == {"bn/moving_mean", "bn/moving_variance"}


def test_macs_by_hand():
  # 108 weights at 16 pixels, 100 at 16 pixels, 80 once.
  assert hand_worked().macs() == 108 * 16 + 100 * 16 + 80


def test_readers_and_output():
  readers = hand_worked().readers()
  assert readers["conv"] == ("dw", "cat")
  assert readers[INPUT] == ("conv",)
  assert readers["fc"] == ()
  assert hand_worked().output == "fc"


@pytest.mark.parametrize(
  "key, shape, fan_in, fan_out",
  [
    ("a/kernel", (3, 3, 64, 128), 576, 1152),
    ("a/kernel", (1, 7, 2, 5), 14, 35),
    ("a/depthwise_kernel", (3, 3, 64, 1), 9 * 64, 9),
    ("a/kernel", (20, 10), 20, 10),
  ],
)
def test_fans_are_keras(key, shape, fan_in, fan_out):
  param = spec.ParamSpec(key, shape)
  assert (param.fan_in, param.fan_out) == (fan_in, fan_out)


def test_a_key_splits_into_node_and_role():
  param = spec.ParamSpec("a.b-c/depthwise_kernel", (3, 3, 2, 1))
  assert (param.node, param.role) == ("a.b-c", "depthwise_kernel")
  assert param.is_kernel and param.trainable and param.size == 18


RELU = ops.Relu()


@pytest.mark.parametrize(
  "nodes, message",
  [
    ([], "at least one node"),
    ([("a/b", RELU, (INPUT,))], "'a/b' is not a node name"),
    ([("", RELU, (INPUT,))], "not a node name"),
    ([(3, RELU, (INPUT,))], "3 is not a node name"),
    ([("a\n", RELU, (INPUT,))], "not a node name"),
    ([("a", RELU, (INPUT,)), ("a", RELU, ("a",))], "two nodes .* 'a'"),
    ([("input", RELU, (INPUT,))], "two nodes .* 'input'"),
    ([("a", RELU, ("a",))], "'a' reads 'a'.*cycle"),
    ([("a", RELU, ("b",)), ("b", RELU, ("a",))], "'a' reads 'b'.*cycle"),
    ([("a", RELU, ("gone",))], "'gone'.*missing node"),
    ([("a", RELU, (["input"],))], "missing node"),
    ([("a", RELU, ())], "relu takes 1 input.*not 0"),
    ([("a", RELU, (INPUT, INPUT))], "relu takes 1 input.*not 2"),
    ([("a", ops.Add(), (INPUT,))], "add takes two or more .* not 1"),
    ([("a", ops.Dense(2), (INPUT,))], "'a': dense needs a flat input"),
    (
      [("a", ops.Slice(8, 1), (INPUT,))],
      "'a': slice at offset 8 leaves nothing of 8x8",
    ),
    (
      [("a", ops.Conv(2), (INPUT,)), ("b", ops.Add(), ("a", INPUT))],
      "'b': add needs inputs of one shape",
    ),
    (
      [("a", ops.Pool(stride=2), (INPUT,)), ("b", ops.Concat(), ("a", INPUT))],
      "'b': concat needs inputs of one height",
    ),
    *(
      (
        [("a", ops.GlobalPool(), (INPUT,)), ("b", op, ("a",))],
        rf"'b': {op.name} needs an input \[H, W, C\]",
      )
      for op in (
        ops.Conv(2),
        ops.DepthwiseConv(),
        ops.Pool(),
        ops.GlobalPool(),
        ops.Flatten(),
        ops.Slice(),
        ops.Zero(2),
      )
    ),
  ],
)
def test_a_network_that_is_none_is_refused(nodes, message):
  with pytest.raises(SpecError, match=message):
    net(*nodes)


@pytest.mark.parametrize(
  "shape", [None, 8, (8, 8), (8, 8, 0), (8, 8, True), (8, 8, 3.0), (5000, 1, 1)]
)
def test_bad_input_shapes_are_refused(shape):
  with pytest.raises(SpecError, match="input_shape must be"):
    net(("a", RELU, (INPUT,)), input_shape=shape)


@pytest.mark.parametrize(
  "text, message",
  [
    ("{", "not JSON"),
    ("9" * 5000, "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("[]", "`input_shape` and `nodes`"),
    ('{"nodes": {}}', "`input_shape` and `nodes`"),
    ('{"nodes": [1]}', "a node must be an object"),
    ('{"nodes": [{"name": "a", "op": "relu"}]}', "'a' needs a list of inputs"),
    (
      '{"nodes": [{"name": "a", "inputs": ["input"], "op": "relo"}]}',
      "node 'a': unknown op 'relo'",
    ),
    (
      '{"nodes": [{"name": "a", "inputs": ["input"], "op": "conv",'
      ' "padding": "valid"}]}',
      "node 'a': unknown conv.padding 'valid'",
    ),
  ],
)
def test_bad_json_is_refused(text, message):
  with pytest.raises(SpecError, match=message):
    spec.from_json(text)


def test_json_leaves_defaults_out():
  text = net(("a", ops.Conv(4, 3, 2), (INPUT,))).to_json()
  assert json.loads(text) == {
    "input_shape": [8, 8, 3],
    "nodes": [
      {
        "name": "a",
        "inputs": ["input"],
        "op": "conv",
        "filters": 4,
        "strides": [2, 2],
      }
    ],
  }


def test_the_digest_is_that_of_the_json_for_ever():
  # The first 16 digits of what sha256sum says to this text.
  assert net(("a", RELU, (INPUT,))).to_json() == (
    '{"input_shape":[8,8,3],"nodes":'
    '[{"inputs":["input"],"name":"a","op":"relu"}]}'
  )
  assert net(("a", RELU, (INPUT,))).digest() == "7668a3ef027e9020"


def test_the_digest_sees_every_attribute():
  variants = [
    ops.Conv(4),
    ops.Conv(5),
    ops.Conv(4, 5),
    ops.Conv(4, 3, 2),
    ops.Conv(4, 3, 1, 2),
    ops.Conv(4, padding="symmetric"),
    ops.Conv(4, use_bias=True),
  ]
  digests = {net(("a", op, (INPUT,))).digest() for op in variants}
  assert len(digests) == len(variants)


ODD = st.sampled_from([1, 3, 5])
PADDING = st.sampled_from(["same", "symmetric"])
FEW = st.integers(1, 4)
ONE_INPUT = st.one_of(
  st.builds(
    ops.Conv, FEW, st.tuples(ODD, ODD), FEW, FEW, PADDING, st.booleans()
  ),
  st.builds(ops.DepthwiseConv, ODD, FEW, FEW, PADDING, st.booleans()),
  st.builds(ops.BatchNorm, st.floats(0, 0.1), st.floats(0, 0.99)),
  st.just(ops.Relu()),
  st.builds(ops.Pool, st.sampled_from(["max", "avg"]), ODD, FEW, PADDING),
  st.builds(ops.Dropout, st.floats(0, 0.9)),
  st.builds(ops.Slice, st.just(0), FEW),
  st.builds(ops.Zero, FEW),
)


@st.composite
def specs(draw):
  """Random valid networks: each node reads any tensor before it."""
  nodes, shapes = [], {INPUT: draw(st.tuples(FEW, FEW, FEW))}
  for i in range(draw(st.integers(1, 6))):
    source = draw(st.sampled_from(sorted(shapes)))
    near = [n for n, s in shapes.items() if s[:2] == shapes[source][:2]]
    alike = [n for n in near if shapes[n] == shapes[source]]
    kind = draw(st.sampled_from(["one", "one", "add", "concat"]))
    if kind == "one":
      op, inputs = draw(ONE_INPUT), (source,)
    else:
      op = ops.TABLE[kind]()
      others = st.lists(
        st.sampled_from(near if kind == "concat" else alike),
        min_size=1,
        max_size=3,
      )
      inputs = (source, *draw(others))
    name = f"n{i}"
    shapes[name] = op.output_shape(*(shapes[n] for n in inputs))
    nodes.append(Node(name, op, inputs))
  tail = draw(st.sampled_from([ops.GlobalPool(), ops.Flatten("chw")]))
  nodes.append(Node("flat", tail, (nodes[-1].name,)))
  nodes.append(Node("fc", ops.Dense(draw(FEW)), ("flat",)))
  return NetSpec(shapes[INPUT], tuple(nodes))


@given(specs())
@settings(deadline=None, max_examples=80)
def test_a_network_survives_json(network):
  copy = spec.from_json(network.to_json())
  assert copy == network
  assert copy.digest() == network.digest()
  assert copy.shapes() == network.shapes()
  assert copy.param_specs() == network.param_specs()


JUNK = st.one_of(
  st.none(),
  st.booleans(),
  st.integers(-3, 3),
  st.just(1 << 70),
  st.floats(),
  st.sampled_from(["", "input", "n0", "fc", "conv", "add", "same", "symm"]),
  st.lists(st.sampled_from(["input", "n0", 2, None]), max_size=3),
  st.dictionaries(st.sampled_from(["op", "name"]), st.integers(), max_size=2),
)


def _mutate(draw, value):
  """`value` with something in it replaced, removed or added."""
  if isinstance(value, dict) and value and draw(st.integers(0, 5)):
    key = draw(st.sampled_from(sorted(value)))
    action = draw(st.sampled_from(["go on", "go on", "drop", "add"]))
    value = dict(value)
    if action == "drop":
      del value[key]
    elif action == "add":
      value[draw(st.sampled_from(["rate", "size", "kind"]))] = draw(JUNK)
    else:
      value[key] = _mutate(draw, value[key])
    return value
  if isinstance(value, list) and value and draw(st.integers(0, 5)):
    at = draw(st.integers(0, len(value) - 1))
    return [*value[:at], _mutate(draw, value[at]), *value[at + 1 :]]
  return draw(JUNK)


@given(specs(), st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_json_is_a_network_or_a_spec_error(network, data):
  mutated = _mutate(data.draw, network.to_dict())
  text = json.dumps(mutated)
  try:
    copy = spec.from_json(text)
  except SpecError as error:
    assert "\n" not in str(error)
  else:
    assert spec.from_json(copy.to_json()) == copy


def test_specs_need_no_tensorflow():
  code = (
    "import sys; from qinit.graph import ops, spec, rewrite;"
    "from qinit.archs import zoo; s = zoo.build('mbnetv2_bn');"
    "s.macs(); rewrite.fold_spec(s); spec.from_json(s.to_json());"
    "assert 'tensorflow' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
