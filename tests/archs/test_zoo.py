import pytest

from qinit.archs import zoo
from qinit.errors import QinitError
from qinit.graph import ops

# Worked out on paper from the table of widths: (trainable parameters, the
# same at width 0.25). Without BatchNorm a bias takes the place of gamma and
# beta. Kernels of the convolutions after the first sum to 1,161,216 (regular),
# 6,048 + 129,024 (depthwise + pointwise), 2,789,376 (residual) and
# 39,744 + 1,443,840 (inverted bottlenecks); the stem has 864, the head 34,186;
# BatchNorms cover 928, 1,600, 2,400 and 9,824 channels.
COUNTS = {
  "regular_conv_bn": (1_198_122, 75_666),
  "regular_conv_no_bn": (1_197_194, 75_434),
  "dws_conv_bn": (173_322, 13_002),
  "dws_conv_no_bn": (171_722, 12_602),
  "basic_residual_bn": (2_829_226, 178_162),
  "basic_residual_no_bn": (2_826_826, 177_562),
  "mbnetv2_bn": (1_538_282, 107_714),
  "mbnetv2_no_bn": (1_528_458, 105_258),
}

ROW_NAMES = {
  "regular_conv_bn": "Regular_Conv_With_BN",
  "regular_conv_no_bn": "Regular_Conv_No_BN",
  "dws_conv_bn": "DWS_Conv_With_BN",
  "dws_conv_no_bn": "DWS_Conv_No_BN",
  "basic_residual_bn": "Basic_Residual_With_BN",
  "basic_residual_no_bn": "Basic_Residual_No_BN",
  "mbnetv2_bn": "MbNetv2_Conv_With_BN",
  "mbnetv2_no_bn": "MbNetv2_Conv_No_BN",
}

EVERY_ARCH = pytest.mark.parametrize("arch", zoo.ARCHS)
CONVS = (ops.Conv, ops.DepthwiseConv)


def kinds(spec):
  return [n.op.name for n in spec.nodes]


def nodes_of(spec, *rows):
  return [n for n in spec.nodes if isinstance(n.op, rows)]


def test_every_arch_has_a_pinned_count():
  assert set(zoo.ARCHS) == set(COUNTS)


@pytest.mark.parametrize("arch, counts", COUNTS.items())
def test_parameter_counts(arch, counts):
  found = tuple(zoo.build(arch, width).num_params() for width in (1.0, 0.25))
  assert found == counts


def test_row_names():
  assert {a: row.row_name for a, row in zoo.ARCHS.items()} == ROW_NAMES


@pytest.mark.parametrize(
  "arch, macs",
  [
    # Every stage of the VGG nets costs the same: half the pixels a side,
    # twice the channels. 3 (18,874,368 + 37,748,736) + stem + head.
    ("regular_conv_bn", 170_788_096),
    # 1,548,288 depthwise + 3 (2,097,152 + 4,194,304) + stem + head.
    ("dws_conv_no_bn", 21_341_440),
  ],
)
def test_multiply_accumulates(arch, macs):
  assert zoo.build(arch).macs() == macs


@EVERY_ARCH
def test_maps_shrink_at_the_strides_and_end_in_logits(arch):
  spec = zoo.build(arch)
  sizes = [s[0] for s in spec.shapes().values() if len(s) == 3]
  last = 8 if "conv" in arch else 4  # two or three halvings
  assert sizes == sorted(sizes, reverse=True)
  assert set(sizes) == {s for s in (32, 16, 8, 4) if s >= last}
  assert spec.shapes()["stem"] == (32, 32, 32)
  assert spec.shapes()["pool"] == (256,)
  assert spec.shapes()["hidden"] == (128,)
  assert spec.shapes()[spec.output] == (10,)


@EVERY_ARCH
def test_the_first_convolution_is_a_regular_one_of_3x3(arch):
  first = nodes_of(zoo.build(arch), *CONVS)[0]
  assert isinstance(first.op, ops.Conv)
  assert (first.op.kernel_size, first.op.strides) == ((3, 3), (1, 1))


@EVERY_ARCH
def test_batch_norm_and_bias_exclude_each_other(arch):
  spec = zoo.build(arch)
  convs = nodes_of(spec, *CONVS)
  norms = nodes_of(spec, ops.BatchNorm)
  if "no_bn" in arch:
    assert not norms and all(n.op.use_bias for n in convs)
  else:
    assert [n.inputs for n in norms] == [(c.name,) for c in convs]
    assert not any(n.op.use_bias for n in convs)
    assert {(n.op.epsilon, n.op.momentum) for n in norms} == {(1e-3, 0.99)}


def relu_follows(spec, name):
  """Whether a ReLU reads convolution `name`, through its BatchNorm if any."""
  readers = spec.readers()[name]
  if isinstance(spec.node(readers[0]).op, ops.BatchNorm):
    readers = spec.readers()[readers[0]]
  return any(isinstance(spec.node(r).op, ops.Relu) for r in readers)


@EVERY_ARCH
def test_relus_follow_all_but_the_linear_convolutions(arch):
  spec = zoo.build(arch)
  linear = [
    n.name for n in nodes_of(spec, *CONVS) if not relu_follows(spec, n.name)
  ]
  if "residual" in arch:  # what is summed is linear, the sum is rectified
    wanted = [
      f"block{b}_{part}"
      for b in range(1, 9)
      for part in ("conv2", "shortcut")
      if part == "conv2" or b in (3, 5, 7)
    ]
  elif "mbnet" in arch:  # linear bottlenecks
    wanted = [f"block{b}_project" for b in range(1, 9)]
  else:
    wanted = []
  assert linear == wanted


@EVERY_ARCH
def test_shortcuts(arch):
  spec = zoo.build(arch)
  sums = nodes_of(spec, ops.Add)
  if "residual" in arch:
    assert [n.name for n in sums] == [f"block{b}_add" for b in range(1, 9)]
    for node in sums:
      assert spec.readers()[node.name] == (node.name.replace("add", "relu"),)
  elif "mbnet" in arch:  # only where stride and width stay
    assert [n.name for n in sums] == [f"block{b}_add" for b in (1, 2, 4, 6, 8)]
    for node in sums:
      reader = spec.node(spec.readers()[node.name][0])
      assert not isinstance(reader.op, ops.Relu)
  else:
    assert sums == []


@EVERY_ARCH
def test_dropout_follows_the_hidden_dense_layer_only(arch):
  spec = zoo.build(arch)
  (dropout,) = nodes_of(spec, ops.Dropout)
  assert dropout.op.rate == 0.5
  assert kinds(spec)[-5:] == [
    "global_pool",
    "dense",
    "relu",
    "dropout",
    "dense",
  ]


def test_depthwise_separable_block():
  names = kinds(zoo.build("dws_conv_bn"))[3:9]
  rest = ["batch_norm", "relu"]
  assert names == ["depthwise_conv", *rest, "conv", *rest]


def test_inverted_bottleneck_expands_sixfold():
  spec = zoo.build("mbnetv2_bn")
  assert spec.shapes()["block3_expand"] == (32, 32, 192)
  assert spec.shapes()["block3_dw"] == (16, 16, 192)
  assert spec.shapes()["block3_project"] == (16, 16, 64)


@EVERY_ARCH
def test_down_sampling_is_plain_keras(arch):
  for node in nodes_of(zoo.build(arch), *CONVS):
    assert node.op.padding == "same" and node.op.dilation == 1


def test_width_never_leaves_a_layer_without_channels():
  spec = zoo.build("dws_conv_bn", 0.01)
  assert min(min(s) for s in spec.shapes().values()) == 1
  assert spec.shapes()[spec.output] == (10,)


def test_number_of_classes_and_input_shape():
  spec = zoo.build("regular_conv_bn", 0.25, 7, (16, 16, 1))
  assert spec.input_shape == (16, 16, 1)
  assert spec.shapes()["logits"] == (7,)


@pytest.mark.parametrize(
  "name, near",
  [("dws_conv", "dws_conv_bn"), ("mobilenetv2_bn", "mbnetv2_bn")],
)
def test_unknown_names_get_near_ones(name, near):
  with pytest.raises(QinitError, match=f"unknown architecture.*{near}"):
    zoo.build(name)


def test_networks_are_the_ones_of_the_published_rows():
  # A change here makes new rows incomparable with the published ones.
  assert {a: zoo.build(a).digest() for a in zoo.ARCHS} == {
    "regular_conv_bn": "ab1438b8a2d2eceb",
    "regular_conv_no_bn": "456be3821f91af77",
    "dws_conv_bn": "4161ab9043dee0da",
    "dws_conv_no_bn": "4cb7d19d71aced29",
    "basic_residual_bn": "4df9f74179d3ed18",
    "basic_residual_no_bn": "88023414f9d64c37",
    "mbnetv2_bn": "98344b238bac7933",
    "mbnetv2_no_bn": "4b661933c9699e89",
  }
