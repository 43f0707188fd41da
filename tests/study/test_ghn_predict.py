"""ghn_predict from files to files, and ghn_graph."""

import dataclasses
import json
import os
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest

import qinit.ghn
from qinit.archs.load import load
from qinit.data.normalise import normalise
from qinit.errors import QinitError
from qinit.functional.forward import forward
from qinit.graph.view import view
from qinit.params import store
from qinit.report import graph_drawing
from qinit.study import ghn_predict
from qinit.study.ghn_predict import Settings
from tests import cifar10
from tests.ghn import reference

NET = os.path.join(os.path.dirname(__file__), "../data/ghn_net_a.json")


@pytest.fixture(scope="module")
def ghn(tmp_path_factory):
  folder = tmp_path_factory.mktemp("ghn")
  qinit.ghn.save(folder, qinit.ghn.HyperNet(qinit.ghn.GHN_2))
  return str(folder)


@pytest.fixture
def images(tmp_path, rng):
  path = tmp_path / "x.npz"
  np.savez(path, x=rng.normal(size=(8, 32, 32, 3)).astype(np.float32))
  return str(path)


def test_logits_of_images(ghn, images, tmp_path):
  output = str(tmp_path / "out" / "net")
  metrics = ghn_predict.run(Settings(ghn, NET, output, images=images))
  params, spec = store.load(f"{output}.params.npz"), load(NET)
  assert set(params) == set(spec.trainable_specs())
  assert metrics["num_params"] == sum(p.size for p in params.values())
  logits = store.load(f"{output}.npz")["logits"]
  assert logits.dtype == np.float32
  with np.load(images) as file:
    expected = forward(spec, params, file["x"])
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_the_whole_way_into_the_runtime(ghn, tmp_path, monkeypatch, rng):
  """Quantised with batch statistics, exported with estimated ones."""
  pixels = rng.integers(0, 256, (64, 32, 32, 3), np.uint8)
  labels = rng.integers(0, 10, 64)
  monkeypatch.setattr(ghn_predict.cifar10, "load", lambda *_: (pixels, labels))
  output = str(tmp_path / "net")
  settings = Settings(
    ghn,
    NET,
    output,
    dataset="cifar10",
    schemes=(None, ghn_predict.Scheme(8, 8), ghn_predict.Scheme(4, 4)),
    export_tflite=True,
    batch_size=32,
  )
  metrics = ghn_predict.run(settings)
  assert metrics == json.loads((tmp_path / "net.json").read_text())
  assert metrics["batch_norm"] == "batch"
  assert metrics["tflite"]["batch_norm"] == "estimated"
  assert metrics["tflite"]["litert_max_difference"] <= 1
  assert {"float", "w8a8", "w4a4"} < set(metrics)
  assert store.load(f"{output}.npz")["logits"].shape == (64, 10)
  assert (tmp_path / "net.tflite").stat().st_size == metrics["tflite"]["bytes"]


def test_a_hypernetwork_that_sees_widths_predicts_for_each(
  tmp_path, monkeypatch, rng
):
  pixels = rng.integers(0, 256, (32, 32, 32, 3), np.uint8)
  labels = rng.integers(0, 10, 32)
  monkeypatch.setattr(ghn_predict.cifar10, "load", lambda *_: (pixels, labels))
  ghn = seeing_widths(tmp_path / "ghn", rng)

  def logits_and_params(*schemes):
    output = str(tmp_path / "net")
    ghn_predict.run(
      Settings(
        str(tmp_path / "ghn"), NET, output, dataset="cifar10", schemes=schemes
      )
    )
    files = [f"{output}.npz", f"{output}.params.npz"]
    return [store.load(file) for file in files]

  both, params = logits_and_params(ghn_predict.Scheme(4, 4), None)
  alone, _ = logits_and_params(ghn_predict.Scheme(4, 4))
  np.testing.assert_array_equal(both["logits"], alone["logits"])
  spec = load(NET)
  expected = ghn.predict(spec, (4, 4))
  assert set(params) == set(expected)
  for key, value in expected.items():
    np.testing.assert_allclose(params[key], value, rtol=0, atol=1e-6)
  in_float, plain = logits_and_params(None)
  np.testing.assert_allclose(
    in_float["logits"],
    forward(spec, plain, normalise(pixels)),
    rtol=0,
    atol=1e-4,
  )
  assert max(abs(plain[key] - params[key]).max() for key in plain) > 1e-3


def seeing_widths(folder, rng):
  """A hypernetwork with an embedding of its own for every width."""
  config = dataclasses.replace(qinit.ghn.GHN_2, widths=True)
  ghn = qinit.ghn.HyperNet(config)
  for name in ("width.weights", "width.activations"):
    ghn.weights[name].assign(rng.normal(size=ghn.weights[name].shape))
  qinit.ghn.save(folder, ghn)
  return ghn


@pytest.mark.parametrize(
  "change",
  [
    {"ghn": "missing.pt"},
    {"arch": "missing.json"},
    {"arch": "mobilenet"},
    {"images": "missing.npz"},
    {"images": NET},
    {"dataset": "cifar10"},
    {"export_tflite": True},
    {"images": None, "dataset": "mnist"},
  ],
)
def test_bad_input_writes_nothing(ghn, images, tmp_path, change):
  good = {"ghn": ghn, "arch": NET, "images": images}
  output = tmp_path / "out" / "net"
  with pytest.raises(QinitError):
    ghn_predict.run(Settings(**good | change, output=str(output)))
  assert not output.parent.exists()


def test_a_file_in_the_place_of_the_folder_is_noticed_before_the_work():
  with pytest.raises(QinitError, match=r"ghn_net_a.json is a file, no folder"):
    Settings("any", NET, f"{NET}/net")


@pytest.mark.parametrize("binary", ["ghn_predict", "ghn_graph"])
def test_exit_code_two_and_one_sentence(binary, tmp_path):
  path = tmp_path / "net.json"
  path.write_text('{"n_cells": 3}')
  flags = [f"--arch={path}", f"--output={tmp_path / 'out.png'}"]
  if binary == "ghn_predict":
    flags.append(f"--ghn={tmp_path / 'none'}")
  result = subprocess.run(
    [sys.executable, "-m", f"experiments.{binary}", *flags],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 2
  assert len(result.stderr.strip().splitlines()) == 1
  assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("virtual", [False, True])
def test_graph_files(tmp_path, virtual):
  graph = view(load(NET))
  for ending in ("png", "graphml", "json"):
    graph_drawing.write(graph, tmp_path / f"g.{ending}", virtual)
  drawn = nx.read_graphml(tmp_path / "g.graphml", node_type=int)
  plain = json.loads((tmp_path / "g.json").read_text())
  assert len(drawn) == len(plain["nodes"]) == len(graph)
  distances = [d for _, _, d in drawn.edges(data="distance")]
  assert len(distances) == len(plain["edges"])
  assert (max(distances) > 1) == virtual
  assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
  with pytest.raises(QinitError, match="must end in"):
    graph_drawing.write(graph, tmp_path / "g.svg")


@pytest.mark.parametrize(
  ("net", "accuracy"),
  [("net0", 24.22), ("net1", 10.84), ("net2", 19.92), ("net3", 21.04)],
)
def test_accuracy_of_the_reference(net, accuracy, tmp_path):
  """Of the hypernetwork that the reference trained, on 2,048 test images."""
  images = cifar10.folder()
  folder = reference.folder()
  settings = Settings(
    str(folder / "ghn2_cifar10_short.pt"),
    str(folder / f"{net}.json"),
    str(tmp_path / "net"),
    dataset="cifar10",
    data_dir=images,
    num_images=2048,
  )
  found = ghn_predict.run(settings)["float"]["accuracy"]
  # One image of 2,048 is 0.05 %: ties may fall the other way.
  assert found == pytest.approx(accuracy, abs=0.06)
