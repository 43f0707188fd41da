"""The study's rows: made once, kept, and honest about failures."""

import dataclasses
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from qinit import record
from qinit.data import catalogue
from qinit.errors import CheckpointError, RefusedError, RunError
from qinit.grid import run as grid
from qinit.grid.task import Watcher
from qinit.study import init_study, quantise
from qinit.study.init_study import Cell, InitStudy


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A study of one cell that has run, and its row."""
  study = InitStudy(
    archs=("regular_conv_bn",),
    dataset="digits",
    epochs=4,
    batch_size=16,
    width=0.25,
    clip_percentile=0.0,  # or clipping may cost more than 4 bits do
    calibration_images=200,
    output_dir=str(tmp_path_factory.mktemp("finished") / "run"),
  )
  begin = time.monotonic()
  (row,) = grid.run(study)
  # The training counts once.
  assert 0 < row.env["seconds"] <= time.monotonic() - begin
  return study, row


@pytest.fixture
def copied(finished, tmp_path):
  """The finished study in a folder that a test may spoil."""
  study, row = finished
  out = tmp_path / "run"
  shutil.copytree(study.output_dir, out)
  return dataclasses.replace(study, output_dir=str(out)), row


@pytest.fixture
def fresh(finished, tmp_path):
  """The same settings, not yet run."""
  return dataclasses.replace(finished[0], output_dir=str(tmp_path / "run"))


class Counter(Watcher):
  """Counts training steps and keeps what was said."""

  def __init__(self):
    self.reports, self.said = 0, []

  def __call__(self, progress):
    self.reports += 1

  def say(self, text):
    self.said.append(text)


def test_a_live_row_agrees_with_the_runtime(finished):
  _, row = finished
  m = row.metrics
  assert row.status == "ok"
  assert row.cell == {
    "arch": "regular_conv_bn",
    "init": "he_uniform",
    "seed": 0,
    "bits": "w8a8",
  }
  assert m["litert_equal_codes"] >= 99.5
  assert m["litert_layer_equal_codes"] >= 99.9
  assert m["litert_layer_max_difference"] <= 1
  assert m["fp32_accuracy"] > 30 and m["output_codes"] > 32
  decrease = 100 * (1 - m["quint8_accuracy"] / m["fp32_accuracy"])
  assert m["accuracy_decrease"] == pytest.approx(decrease)
  assert m["qce"] > m["kl"] >= 0
  assert m["epochs"] == 4 and m["steps"] == 4 * (1438 // 16)


def test_a_second_run_makes_nothing_again(copied):
  study, row = copied
  counter = Counter()
  assert list(grid.run(study, counter)) == [row]
  assert counter.reports == 0 and counter.said == []
  records, _ = record.read(f"{study.output_dir}/records.jsonl")
  assert records == [row]


def test_another_width_needs_no_other_training(copied):
  study, wide = copied
  counter = Counter()
  both = dataclasses.replace(study, bits=("w8a8", "w4a4"))
  first, narrow = grid.run(both, counter)
  assert first == wide and counter.reports == 0
  assert wide.metrics["fp32_accuracy"] == narrow.metrics["fp32_accuracy"]
  assert narrow.metrics["qmse"] > wide.metrics["qmse"]
  folder = study.folder(study.cells()[0])
  for name in ("layerwise_w4a4.csv", "model_w4a4.tflite", "layerwise.csv"):
    assert (folder / name).exists()


def test_divergence_keeps_its_row_and_the_grid_goes_on(copied, monkeypatch):
  study, row = copied
  start = init_study.start

  def spoilt(spec, cell, data):
    params = start(spec, cell, data)
    params["logits/bias"][:] = np.nan
    return params

  monkeypatch.setattr(init_study, "start", spoilt)
  two = dataclasses.replace(study, inits=("he_normal", "he_uniform"))
  good, bad = grid.run(two)  # what is known comes first
  assert (bad.status, good) == ("diverged", row)
  assert "quint8_accuracy" not in bad.metrics
  assert "NaN" not in bad.to_json()  # which is not JSON


def test_a_refused_file_ends_its_row_alone(copied, monkeypatch):
  study, row = copied

  def refused(*args):
    raise RefusedError("LiteRT refuses the file: why")

  monkeypatch.setattr(quantise, "quantise", refused)
  counter = Counter()
  both = dataclasses.replace(study, bits=("w8a8", "w4a4"))
  good, failed = grid.run(both, counter)
  assert (good, failed.status) == (row, "failed")
  assert counter.said[-1] == "LiteRT refuses the file: why"
  assert failed.metrics["fp32_accuracy"] == row.metrics["fp32_accuracy"]


def test_a_file_that_computes_something_else_fails(copied, monkeypatch):
  study, _ = copied
  equal = iter([99.89, 99.9])

  def unlike(*args):
    return {"litert_equal_codes": next(equal)}

  monkeypatch.setattr(quantise, "quantise", unlike)
  widths = dataclasses.replace(study, bits=("w8a8", "w4a4", "w2a2"))
  assert [r.status for r in grid.run(widths)] == ["ok", "failed", "ok"]


def test_metrics_that_are_not_finite_are_left_out(copied, monkeypatch):
  study, _ = copied
  metrics = {"qmse": math.inf, "qce": math.nan, "kl": 1.0}
  monkeypatch.setattr(quantise, "quantise", lambda *args: metrics)
  *_, row = grid.run(dataclasses.replace(study, bits=("w8a8", "w4a4")))
  assert {"qmse", "qce", "kl"} & row.metrics.keys() == {"kl"}


def test_other_settings_are_refused(copied):
  study, _ = copied
  with pytest.raises(RunError, match="epochs"):
    list(grid.run(dataclasses.replace(study, epochs=5)))


def test_a_damaged_row_is_reported_and_made_again(copied):
  study, row = copied
  path = Path(study.output_dir) / "records.jsonl"
  path.write_text(path.read_text()[:100])
  counter = Counter()
  (again,) = grid.run(study, counter)
  assert again.metrics == row.metrics
  assert "line 1 is damaged" in counter.said[0]
  assert counter.reports == 0  # trained already


def test_a_damaged_checkpoint_is_named(copied):
  study, _ = copied
  (Path(study.output_dir) / "records.jsonl").unlink()
  folder = study.folder(study.cells()[0]) / "checkpoints"
  (weights,) = folder.glob("*.data-*")
  weights.write_bytes(weights.read_bytes()[:100])
  with pytest.raises(CheckpointError, match="checkpoints is damaged"):
    list(grid.run(study))


def test_lsuv_starts_from_rescaled_kernels(fresh):
  data = catalogue.load("digits")
  spec = fresh.spec(fresh.cells()[0])
  orthogonal = init_study.start(
    spec, Cell("regular_conv_bn", "orthogonal", 0), data
  )
  lsuv = init_study.start(spec, Cell("regular_conv_bn", "lsuv", 0), data)
  key = "block1_conv/kernel"
  ratio = np.asarray(lsuv[key]) / orthogonal[key]
  np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-5)
  np.testing.assert_array_equal(lsuv["stem/kernel"], orthogonal["stem/kernel"])


def test_calibration_images_are_a_function_of_the_seed():
  data = catalogue.load("digits")
  one, again, other = (
    quantise.calibration(data, 50, seed) for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, again)
  assert one.shape == (50, 32, 32, 3) and one.max() <= 1.0
  assert not np.array_equal(one, other)
  everything = quantise.calibration(data, 10**6, 0)
  assert len(everything) == len(data.train_images)
