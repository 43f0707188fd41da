"""GHN-2, GHN-1 and MLP with formula-defined weights against golden.json."""

import functools

import numpy as np
import pytest

from qinit.functional.forward import forward
from qinit.ghn import checkpoint
from qinit.ghn.checkpoint import published_shapes
from qinit.ghn.config import GHN_1, GHN_2, MLP
from qinit.graph.view import PRIMITIVES
from tests.ghn import reference

CONFIGS = {"ghn2": GHN_2, "ghn1": GHN_1, "mlp": MLP}


@functools.cache
def golden():
  return reference.golden()


@functools.cache
def ghn(name):
  config = CONFIGS[name]
  state = {
    tensor: formula(t, tensor, shape)
    for t, (tensor, shape) in enumerate(published_shapes(config).items())
  }
  return checkpoint.from_state_dict(config, state)


def formula(t, name, shape):
  r = np.random.RandomState(1000 + t).randn(*shape)
  if name == "ln.weight":
    r = 1 + 0.1 * r
  elif "embed" not in name and len(shape) == 1:
    r = 0.1 * r
  elif "embed" not in name:
    r = r / np.sqrt(np.prod(shape[1:]))
  return r.astype(np.float32)


@pytest.fixture(params=reference.GOLDEN)
def arch(request):
  return request.param


def their_graph(graph):
  labels = [
    (primitive, name if name.endswith((".weight", ".bias")) else "")
    for primitive, name, _ in graph["nodes"]
  ]
  return reference.labelled(labels, [(u, v, 1) for u, v in graph["edges_1hop"]])


def direct(graph):
  edges = graph.edges
  whole = reference.our_graph(graph)
  labels = [whole.nodes[v]["colour"] for v in range(len(graph))]
  return reference.labelled(labels, edges[edges[:, 2] == 1])


def test_graph_and_embeddings(arch):
  run, net = golden()["runs"][arch], ghn("ghn2")
  graph = net.view(reference.golden_spec(golden()["archs"][arch]))
  theirs = run["graph"]
  assert len(graph.edges) == theirs["n_edges_with_virtual_cutoff50"]
  assert graph.edges[:, 2].sum() == theirs["sum_dist"]
  assert graph.edges[:, 2].max() == theirs["max_dist"]
  ours = reference.match(direct(graph), their_graph(theirs))
  states = net.embed([graph]).numpy()[ours]
  np.testing.assert_allclose(
    states, run["ghn2"]["embeddings"], rtol=0, atol=1e-5
  )
  assert [PRIMITIVES[p] for p in graph.primitive[ours]] == [
    node[0] for node in theirs["nodes"]
  ]


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_and_logits(arch, name):
  spec = reference.golden_spec(golden()["archs"][arch])
  theirs = golden()["runs"][arch][name]
  params = ghn(name).predict(spec)
  ours = reference.torch_params(params)
  assert ours.keys() == theirs["params"].keys()
  assert sum(v.size for v in ours.values()) == theirs["n_params"]
  for key, value in theirs["params"].items():
    check_tensor(key, ours[key], value)
  images = np.random.RandomState(7).randn(8, 3, 32, 32).astype(np.float32)
  logits = forward(spec, params, images.transpose(0, 2, 3, 1)).numpy()
  largest = np.abs(theirs["logits"]).max()
  assert np.abs(logits - theirs["logits"]).max() <= 1e-3 * largest


def check_tensor(name, ours, theirs):
  assert list(ours.shape) == theirs["shape"], name
  atol = 1e-5 * np.abs(ours).max()
  flat = ours.ravel()
  np.testing.assert_allclose(
    flat[:4], theirs["first"], rtol=0, atol=atol, err_msg=name
  )
  np.testing.assert_allclose(
    flat[-2:], theirs["last"], rtol=0, atol=atol, err_msg=name
  )
  np.testing.assert_allclose(
    np.linalg.norm(flat.astype(np.float64)),
    theirs["l2"],
    rtol=1e-5,
    err_msg=name,
  )
