"""GHN-2 against the public PyTorch implementation, network by network."""

import json

import numpy as np
import pytest

import qinit.ghn
from qinit.functional.forward import forward
from qinit.graph.view import PRIMITIVES
from tests.ghn import reference


@pytest.fixture(scope="module")
def ghn():
  return qinit.ghn.load(reference.folder() / "ghn2_reference.pt")


@pytest.fixture(scope="module", params=reference.NETS)
def case(request):
  spec, arrays = reference.net(request.param)
  path = reference.folder() / f"{request.param}_nodes.json"
  return spec, arrays, json.loads(path.read_text())


def their_graph(arrays, rows):
  labels = [(PRIMITIVES[p], "") for p in arrays["node_primitive"]]
  for node, _, name, primitive, _ in rows:
    labels[node] = (primitive, "" if primitive.endswith("pool") else name)
  return reference.labelled(labels, arrays["edges"])


def test_graph_and_embeddings(ghn, case):
  spec, arrays, rows = case
  graph = ghn.view(spec)
  ours = reference.match(reference.our_graph(graph), their_graph(arrays, rows))
  states = ghn.embed([graph]).numpy()[ours]
  np.testing.assert_allclose(states, arrays["embeddings"], rtol=0, atol=1e-5)


def test_shapes_of_the_nodes(ghn, case):
  spec, _, rows = case
  graph = ghn.view(spec)
  theirs = {r[2]: r[4] for r in rows if not r[3].endswith("pool")}
  ours = {
    reference.torch_name(keys[0]): shape
    for keys, shape in zip(graph.keys, graph.shape.tolist(), strict=True)
    if keys
  }
  assert ours == {n: s + [1] * (4 - len(s)) for n, s in theirs.items()}


def test_parameters(ghn, case):
  spec, arrays, _ = case
  ours = reference.torch_params(ghn.predict(spec))
  theirs = {k[6:]: v for k, v in arrays.items() if k.startswith("param/")}
  assert ours.keys() == theirs.keys()
  for name, value in theirs.items():
    np.testing.assert_allclose(
      ours[name], value, rtol=0, atol=1e-5, err_msg=name
    )


@pytest.mark.parametrize("checkpoint", ["reference", "short"])
def test_logits(checkpoint, case, request):
  spec, arrays, _ = case
  if checkpoint == "short":
    ghn = qinit.ghn.load(reference.folder() / "ghn2_cifar10_short.pt")
    with np.load(reference.folder() / "short_logits.npz") as file:
      logits = file[request.node.callspec.params["case"]]
  else:
    ghn, logits = request.getfixturevalue("ghn"), arrays["logits"]
  with np.load(reference.folder() / "images64.npz") as file:
    ours = forward(spec, ghn.predict(spec), file["x"]).numpy()
  assert np.abs(ours - logits).max() <= 1e-4 * np.abs(logits).max()
