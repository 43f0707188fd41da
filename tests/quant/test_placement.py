import pytest

from qinit.archs import zoo
from qinit.errors import QuantError
from qinit.graph import ops, rewrite
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.quant.placement import pairwise_sums, place
from qinit.quant.scheme import Scheme
from tests import quant_nets


def spec(*rows):
  nodes = tuple(Node(name, op, tuple(inputs)) for name, op, *inputs in rows)
  return NetSpec((8, 8, 3), nodes)


def test_a_cell_by_hand():
  placement = place(rewrite.fold_spec(quant_nets.cell()))
  assert placement.points == (
    INPUT, "stem", "left_dw", "left_pw", "reduced", "sum.sum1", "right_dw",
    "right_pw", "joined", "mix", "logits",
  )  # fmt: skip
  shared = {
    "relu": "stem",
    "shift": "stem",
    "max": "stem",
    "half1": "reduced",
    "half2": "reduced",
    "absent": "joined",
    "sum": "joined",
    "avg": "joined",
    "state": "joined",
    "joined_relu": "joined",
    "small": "mix",
    "flat": "mix",
  }
  own = {name: placement.owner[name] for name in shared}
  assert own == shared


def test_a_residual_block_by_hand():
  folded = rewrite.fold_spec(zoo.build("basic_residual_bn", 0.25))
  placement = place(folded)
  block = [g for g in placement.groups if g.name.startswith("block3_")]
  assert [(g.name, g.node.name, g.inputs, g.relu) for g in block] == [
    ("block3_conv1_relu", "block3_conv1", ("block2_relu",), True),
    ("block3_conv2", "block3_conv2", ("block3_conv1_relu",), False),
    ("block3_shortcut", "block3_shortcut", ("block2_relu",), False),
    ("block3_relu", "block3_add", ("block3_conv2", "block3_shortcut"), True),
  ]


def test_ends_have_eight_bits_and_are_never_clipped():
  folded = rewrite.fold_spec(zoo.build("dws_conv_bn", 0.25))
  placement, scheme = place(folded), Scheme(4, 4)
  eight = [p for p in placement.points if placement.bits(p, scheme) == 8]
  assert eight == [p for p in placement.points if placement.absolute(p)]
  assert eight == [INPUT, "logits"]
  assert placement.owner["pool"] == "pool"


def test_dropout_leaves_no_trace():
  placement = place(rewrite.fold_spec(zoo.build("dws_conv_bn", 0.25)))
  assert placement.group["logits"].inputs == ("hidden_relu",)


def test_a_relu_is_fused_only_if_it_alone_reads_the_sum():
  placement = place(
    spec(
      ("conv", ops.Conv(4), INPUT),
      ("relu", ops.Relu(), "conv"),
      ("sum", ops.Add(), "conv", "relu"),
      ("last", ops.Relu(), "sum"),
    )
  )
  assert [g.name for g in placement.groups] == ["conv", "relu", "last"]
  assert placement.owner == {
    INPUT: INPUT,
    "conv": "conv",
    "relu": "conv",
    "last": "last",
  }


def test_sums_are_pairwise_and_leave_absent_states_out():
  lowered = pairwise_sums(
    spec(
      ("a", ops.Conv(4), INPUT),
      ("zero", ops.Zero(4), INPUT),
      ("b", ops.Conv(4), INPUT),
      ("only", ops.Add(), "zero", "a"),
      ("sum", ops.Add(), "only", "b", "zero", "a"),
    )
  )
  assert [(n.name, n.inputs) for n in lowered.nodes] == [
    ("a", (INPUT,)),
    ("b", (INPUT,)),
    ("sum.sum1", ("a", "b")),
    ("sum", ("sum.sum1", "a")),
  ]


def test_a_batch_norm_that_cannot_be_folded_is_named():
  net = spec(
    ("conv", ops.Conv(4), INPUT),
    ("relu", ops.Relu(), "conv"),
    ("late_bn", ops.BatchNorm(), "relu"),
  )
  with pytest.raises(QuantError, match="'late_bn' cannot be folded: it must"):
    place(rewrite.fold_spec(net))


def test_a_concat_with_the_input_is_named():
  net = spec(
    ("conv", ops.Conv(4), INPUT), ("both", ops.Concat(), "conv", INPUT)
  )
  with pytest.raises(QuantError, match="concat 'both' reads the network's"):
    place(net)
