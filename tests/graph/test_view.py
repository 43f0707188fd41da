"""The graph view against hand-drawn graphs and breadth-first search."""

import collections
import dataclasses

import numpy as np
import pytest

from qinit.archs import darts, genotype, zoo
from qinit.errors import SpecError
from qinit.graph import ops
from qinit.graph.spec import NetSpec, Node
from qinit.graph.view import PRIMITIVES, view


def spec(*rows, input_shape=(8, 8, 3)):
  nodes = [Node(name, op, inputs) for name, op, *inputs in rows]
  nodes = [dataclasses.replace(n, inputs=tuple(n.inputs)) for n in nodes]
  return NetSpec(input_shape, tuple(nodes))


def primitives(graph):
  return [PRIMITIVES[p] for p in graph.primitive]


HEAD = (("pool", ops.GlobalPool(), "x"), ("fc", ops.Dense(2), "pool"))


def test_by_hand():
  graph = view(
    spec(
      ("a", ops.Conv(4), "input"),
      ("bn", ops.BatchNorm(), "a"),
      ("relu", ops.Relu(), "bn"),
      ("b", ops.DepthwiseConv(5, dilation=2), "relu"),
      ("x", ops.Add(), "relu", "b"),
      *HEAD,
    )
  )
  assert primitives(graph) == [
    "input", "conv", "bn", "dil_conv", "sum", "glob_avg", "conv", "bias",
  ]  # fmt: skip
  assert graph.shape.tolist() == [
    [0, 0, 0, 0],
    [4, 3, 3, 3],
    [4, 1, 1, 1],
    [4, 1, 5, 5],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
    [2, 4, 1, 1],
    [2, 1, 1, 1],
  ]
  assert graph.keys[2] == ("bn/gamma", "bn/beta")
  direct = [[0, 1], [1, 2], [2, 3], [2, 4], [3, 4], [4, 5], [5, 6], [6, 7]]
  edges = graph.edges
  assert edges[edges[:, 2] == 1][:, :2].tolist() == direct
  assert graph.distance[0, 7] == 6 and graph.distance[7, 0] == 0


def test_a_bias_has_a_node_behind_its_kernel():
  graph = view(spec(("x", ops.Conv(4, use_bias=True), "input"), *HEAD))
  assert primitives(graph)[:3] == ["input", "conv", "bias"]
  assert graph.keys[1:3] == (("x/kernel",), ("x/bias",))


def test_sums_and_concats_of_one_node_disappear():
  graph = view(
    spec(
      ("a", ops.Conv(4), "input"),
      ("r", ops.Relu(), "a"),
      ("s", ops.Add(), "a", "r"),
      ("z", ops.Zero(4), "s"),
      ("x", ops.Concat(), "s", "z"),
      *HEAD,
    )
  )
  assert primitives(graph) == ["input", "conv", "glob_avg", "conv", "bias"]


def test_dead_branches_have_no_nodes():
  dead = ("dead", ops.Conv(7), "input")
  graph = view(spec(dead, ("x", ops.Conv(4), "input"), *HEAD))
  assert "dead" not in graph.names


def test_absent_tensors():
  with pytest.raises(SpecError, match="'x' reads nothing but zeros"):
    zero = ("z", ops.Zero(3), "input")
    view(spec(zero, ("x", ops.Conv(4), "z"), *HEAD))
  with pytest.raises(SpecError, match="does not depend"):
    view(spec(("z", ops.Zero(3), "input"), ("x", ops.GlobalPool(), "z")))


@pytest.mark.parametrize("cutoff", [0, 256])
def test_cutoff_out_of_bounds(cutoff):
  with pytest.raises(SpecError, match="virtual_edge"):
    view(zoo.build("dws_conv_bn"), cutoff)


@pytest.mark.parametrize("cutoff", [1, 2, 10, 50])
@pytest.mark.parametrize("arch", ["basic_residual_bn", "mbnetv2_no_bn"])
def test_distances_are_those_of_breadth_first_search(arch, cutoff):
  graph = view(zoo.build(arch), cutoff)
  after = collections.defaultdict(list)
  for v, before in enumerate(graph.predecessors):
    for u in before:
      after[u].append(v)
  expected = np.zeros_like(graph.distance)
  for u in range(len(graph)):
    for v, d in reached(after, u).items():
      expected[u, v] = d if d <= cutoff else 0
  np.testing.assert_array_equal(graph.distance, expected)


def reached(after, start):
  distance, queue = {start: 0}, collections.deque([start])
  while queue:
    u = queue.popleft()
    for v in after[u]:
      if v not in distance:
        distance[v] = distance[u] + 1
        queue.append(v)
  return distance


def test_every_trainable_parameter_has_one_node():
  edges = (("sep_conv_3x3", 0), ("none", 1), ("conv_7x1_1x7", 2), ("none", 0))
  cells = genotype.Genotype(edges, (2, 3), edges, (2, 3))
  for norm in ("bn", None):
    net = darts.build(genotype.NetConfig(cells, 6, 8, norm=norm))
    keys = [key for keys in view(net).keys for key in keys]
    assert sorted(keys) == sorted(net.trainable_specs())
