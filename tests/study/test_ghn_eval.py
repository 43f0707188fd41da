"""Evaluation of hypernetworks: a small one, on made-up images."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from qinit import ghn as hypernetworks
from qinit import record
from qinit.archs import darts
from qinit.errors import QinitError, RunError
from qinit.functional.forward import forward
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.weights import initial_weights
from qinit.grid import run as grid
from qinit.stats.accuracy import top_accuracy
from qinit.study import ghn_eval, ghn_logits
from qinit.study.ghn_eval import GhnEval
from qinit.study.ghn_logits import Images
from qinit.study.ghn_step import forward_of
from tests.study.test_ghn_train import SMALL, networks


@pytest.fixture
def made(tmp_path, monkeypatch):
  """Settings, with networks and images put in place of the data sets'."""
  hypernetworks.save(tmp_path / "small" / "ghn", HyperNet(SMALL))
  rng = np.random.default_rng(0)
  batches = [
    tf.constant(rng.normal(size=[16, 32, 32, 3]), tf.float32) for _ in range(2)
  ]
  images = Images(batches, rng.integers(0, 10, 32))
  monkeypatch.setattr(ghn_eval, "networks", lambda s, split: networks()[:2])
  monkeypatch.setattr(Images, "load", lambda *which: images)
  return GhnEval(
    str(tmp_path / "small" / "ghn"),
    splits=("test",),
    bits=("float", "w8a8", "w2a2", "mixed"),
    images=32,
    output_dir=str(tmp_path / "run"),
  )


def test_another_width_costs_itself_and_the_float_network(made, monkeypatch):
  narrow = dataclasses.replace(made, bits=("float", "w8a8"))
  known = [row.to_json() for row in grid.run(narrow)]
  ran = []

  def counted(spec, how):
    ran.append(how and how.weight_bits)
    return forward_of(spec, how)

  monkeypatch.setattr(ghn_logits, "forward_of", counted)
  wide = dataclasses.replace(made, bits=("float", "w8a8", "w2a2"))
  rows = list(grid.run(wide))
  assert [row.to_json() for row in rows[:4]] == known
  assert [row.cell["bits"] for row in rows[4:]] == ["w2a2", "w2a2"]
  assert ran == 2 * [None, 2]
  assert all(row.metrics["qmse"] > 0 for row in rows[4:])


def test_the_graph_for_many_batches_gives_the_same_numbers(made, monkeypatch):
  bits = (*made.bits, "w2a2_noise")
  apart = list(grid.run(dataclasses.replace(made, bits=bits)))
  folder = made.output_dir + "_whole"
  monkeypatch.setattr(ghn_logits, "_MANY", 1)
  whole = dataclasses.replace(made, bits=bits, output_dir=folder)
  for row, other in zip(grid.run(whole), apart, strict=True):
    assert row.metrics["accuracy"] == other.metrics["accuracy"]
    assert row.metrics["qmse"] == pytest.approx(other.metrics["qmse"], 1e-5)


def test_rows_hold_what_they_say_and_are_not_made_twice(made, monkeypatch):
  rows = list(grid.run(made))
  assert [(r.cell["network"], r.cell["bits"]) for r in rows] == [
    (n, bits) for n in range(2) for bits in made.bits
  ]
  assert {r.cell["ghn"] for r in rows} == {"small"}
  for row in rows:
    if row.cell["bits"] == "float":
      assert row.metrics["accuracy_change"] == row.metrics["qmse"] == 0
      assert row.metrics["kl"] == pytest.approx(0, abs=1e-12)
      base = row
    else:
      change = row.metrics["accuracy"] - base.metrics["accuracy"]
      assert row.metrics["accuracy_change"] == pytest.approx(change)
      assert row.metrics["qmse"] > 0
  by_bits = {r.cell["bits"]: r.metrics["qmse"] for r in rows[:4]}
  assert by_bits["w2a2"] > by_bits["w8a8"]
  assert by_bits["w8a8"] < by_bits["mixed"] < by_bits["w2a2"]

  def evaluate(*arguments):
    raise AssertionError("a row was made again")

  monkeypatch.setattr(ghn_eval, "evaluate", evaluate)
  assert list(grid.run(made)) == rows
  found, complaints = record.read(f"{made.output_dir}/records.jsonl")
  assert found == rows and not complaints


def test_rows_of_other_weights_are_not_taken_for_these(made, tmp_path):
  narrow = dataclasses.replace(made, bits=("float",))
  rows = list(ghn_eval.run(narrow))
  assert list(ghn_eval.run(narrow)) == rows
  other = HyperNet(SMALL, initial_weights(SMALL, seed=1))
  hypernetworks.save(tmp_path / "more" / "small" / "ghn", other)
  folder = str(tmp_path / "more" / "small" / "ghn")
  with pytest.raises(RunError, match="another hypernetwork that is called sma"):
    list(ghn_eval.run(dataclasses.replace(narrow, ghn=folder)))
  named = dataclasses.replace(narrow, ghn=folder, label="other")
  found = list(ghn_eval.run(named))
  assert [r.cell["ghn"] for r in found] == ["other", "other"]
  assert [r.metrics["qce"] for r in found] != [r.metrics["qce"] for r in rows]
  (tmp_path / "run" / "hypernetworks.json").write_text("{")
  with pytest.raises(RunError, match=r"hypernetworks\.json is damaged"):
    list(ghn_eval.run(narrow))


def test_noise_does_as_much_harm_as_the_fine_rounding_it_stands_for(made):
  bits = ("float", "w8a8", "w8a8_noise", "w2a2", "w2a2_noise")
  noisy = dataclasses.replace(made, bits=bits)
  rows = list(grid.run(noisy))
  qmse = {(r.cell["network"], r.cell["bits"]): r.metrics["qmse"] for r in rows}
  for n in range(2):
    assert 1 / 3 < qmse[n, "w8a8_noise"] / qmse[n, "w8a8"] < 3
    assert qmse[n, "w2a2_noise"] != qmse[n, "w2a2"]


def test_the_float_row_is_that_of_forward(made):
  images = Images.load(made.data_dir, made.images)
  ghn = ghn_eval.load(made)
  network = networks()[0]
  (row,) = ghn_eval.evaluate(
    made, ghn, network, [{"bits": "float", "network": 0}], images
  )
  spec = darts.build(network.config)
  params = ghn.predict(spec)
  logits = np.concatenate([forward(spec, params, x) for x in images.batches])
  expected = 100 * np.mean(logits.argmax(1) == images.labels)
  assert row.metrics["accuracy"] == pytest.approx(expected)
  kernels = [k for k in params if k.endswith("kernel")]
  assert [name for name, *_ in row.metrics["layers"]] == kernels
  name, lowest, *_, highest = row.metrics["layers"][0]
  assert lowest == pytest.approx(float(tf.reduce_min(params[name])), abs=1e-5)
  assert highest == pytest.approx(float(tf.reduce_max(params[name])), abs=1e-5)


def test_a_row_has_the_threads_of_all_batches_at_once(made, monkeypatch):
  monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
  monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "3")
  images = Images.load(made.data_dir, made.images)
  (row,) = ghn_eval.evaluate(
    made,
    ghn_eval.load(made),
    networks()[0],
    [{"bits": "float", "network": 0}],
    images,
  )
  assert row.env["threads"] == 3


def test_top_accuracy_by_hand():
  logits = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
  labels = np.array([1, 0, 2])
  assert top_accuracy(logits, labels, 1) == 0
  assert top_accuracy(logits, labels, 2) == pytest.approx(100 / 3)
  assert top_accuracy(logits, labels, 3) == 100


def test_bad_settings_are_named(made):
  with pytest.raises(QinitError, match="begins with float"):
    dataclasses.replace(made, bits=("w8a8",))
  with pytest.raises(
    QinitError, match="unknown quantizer 'nois': did you mean"
  ):
    dataclasses.replace(made, bits=("float", "w2a2_nois"))
  with pytest.raises(QinitError, match="'float_noise' is no width"):
    dataclasses.replace(made, bits=("float", "float_noise"))
  with pytest.raises(QinitError, match="unknown split 'wider'"):
    dataclasses.replace(made, splits=("wider",))
