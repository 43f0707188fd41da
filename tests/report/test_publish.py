"""Copying a run to the published rows."""

import shutil

import pytest

from qinit import record
from qinit.errors import RunError
from qinit.record import Record
from qinit.report.publish import publish


@pytest.fixture
def run(tmp_path):
  folder = tmp_path / "reduced"
  record.open_run(folder, {"dataset": "cifar10", "epochs": 8})
  cell = folder / "cells" / "dws_conv_bn__he_uniform__s0"
  cell.mkdir(parents=True)
  (cell / "layerwise.csv").write_text("layers")
  row = Record("init_study", {"seed": 0}, "c0ffee", {"qmse": 0.5})
  record.append(folder / "records.jsonl", row)
  return folder


def test_rows_settings_and_layers_are_copied(run, tmp_path):
  assert publish(run, tmp_path / "results") == []
  folder = tmp_path / "results" / "init_study"
  rows, _ = record.read(folder / "reduced.jsonl")
  assert rows == record.read(run / "records.jsonl")[0]
  assert record.read_identity(folder / "reduced.json")["epochs"] == 8
  name = "dws_conv_bn__he_uniform__s0.csv"
  assert (folder / "layerwise" / name).read_text() == "layers"


def test_layers_are_those_of_the_run_with_the_most_rows(run, tmp_path):
  small = tmp_path / "small"
  shutil.copytree(run, small)
  row = Record("init_study", {"seed": 1}, "c0ffee", {"qmse": 0.5})
  record.append(run / "records.jsonl", row)
  (small / "cells/dws_conv_bn__he_uniform__s0/layerwise.csv").write_text("new")
  publish(run, tmp_path / "results")
  publish(small, tmp_path / "results")
  (csv,) = (tmp_path / "results").rglob("layerwise/*.csv")
  assert csv.read_text() == "layers"


def test_damaged_rows_stay_behind(run, tmp_path):
  with (run / "records.jsonl").open("a") as file:
    file.write('{"schema": 1,\n')
  (complaint,) = publish(run, tmp_path / "results")
  assert "line 2 is damaged" in complaint
  published = tmp_path / "results" / "init_study" / "reduced.jsonl"
  assert len(published.read_text().splitlines()) == 1


def test_digits_are_not_published(run, tmp_path):
  (run / "config.json").unlink()
  record.open_run(run, {"dataset": "digits"})
  with pytest.raises(RunError, match="digits"):
    publish(run, tmp_path / "results")
  assert not (tmp_path / "results").exists()


def test_a_run_without_rows(tmp_path):
  with pytest.raises(RunError, match="no rows"):
    publish(tmp_path, tmp_path / "results")
