"""The study of hypernetworks' precision: its rows, its report, its command."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from qinit import ghn as hypernetworks
from qinit import record
from qinit.errors import QinitError
from qinit.ghn.hypernet import HyperNet
from qinit.grid import run as grid
from qinit.lpgnas import hypernet
from qinit.report import run as report
from qinit.report.lpgnas_ghn import section, table, widths
from qinit.report.sources import Study
from qinit.study import ghn_data, ghn_eval, lpgnas_ghn
from qinit.study.lpgnas_ghn import LpgnasGhn
from tests.study.test_ghn_train import SMALL, networks


@pytest.fixture(scope="module")
def ghn(tmp_path_factory):
  folder = tmp_path_factory.mktemp("base") / "small"
  hypernetworks.save(folder, HyperNet(SMALL))
  return str(folder)


@pytest.fixture
def made_up(monkeypatch):
  """Images and networks that need no files."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, [80, 32, 32, 3]).astype(np.uint8)
  monkeypatch.setattr(lpgnas_ghn, "HELD_OUT", 40)
  monkeypatch.setattr(
    lpgnas_ghn.cifar10, "load", lambda *_: (images, np.arange(80) % 10)
  )
  monkeypatch.setattr(ghn_data, "networks", lambda *_: networks())
  monkeypatch.setattr(ghn_eval, "networks", lambda *_: networks())


def study(ghn, folder, **changes):
  few = dict(search_steps=3, tune_steps=2, batch_size=8, meta_batch=2)
  return LpgnasGhn(
    ghn, **few, test_networks=2, images=64, output_dir=str(folder), **changes
  )


def test_rows(ghn, made_up, tmp_path):
  made = study(ghn, tmp_path / "run", methods=("lpgnas", "w4a8"))
  plain, searched, uniform = grid.run(made)
  assert {row.status for row in (plain, searched, uniform)} == {"ok"}
  assert searched.cell == {
    "ghn": "small",
    "split": "test",
    "method": "lpgnas",
    "beta": 0.1,
    "seed": 0,
  }
  assert len(plain.metrics["accuracies"]) == 2
  m = uniform.metrics
  assert m["mean_weight_bits"] == 4 and m["mean_vector_bits"] == 8
  assert 0 <= 8 * m["weight_bytes"] - m["model_bits"] < 8 * 31
  assert searched.metrics["precision"].keys() == hypernet.options(SMALL).keys()
  assert list(grid.run(made)) == [plain, searched, uniform]
  assert report.rebuild(made.output_dir) == []
  lines = (tmp_path / "run" / "results.csv").read_text().splitlines()
  assert [line.split(",")[0] for line in lines[1:]] == [
    "float",
    "lpgnas",
    "w4a8",
  ]


def test_float_is_always_there_and_once(ghn):
  made = LpgnasGhn(ghn, betas=(0.1, 1.0), seeds=(0, 1))
  assert [cell.folder_name for cell in made.cells()] == [
    "float__s0",
    "lpgnas__b0.1__s0",
    "lpgnas__b1__s0",
    "lpgnas__b0.1__s1",
    "lpgnas__b1__s1",
  ]
  assert pickle.loads(pickle.dumps(made)) == made  # engines send it away
  with pytest.raises(QinitError, match="unknown method 'w4a9'"):
    LpgnasGhn(ghn, methods=("w4a9",))


def row(method, beta, accuracies, bits, **more):
  cell = dict(ghn="g", split="test", method=method, beta=beta, seed=0)
  metrics = {"accuracies": accuracies, "model_bits": bits} | more
  return record.Record("lpgnas_ghn", cell, "c", metrics)


ROWS = [
  row("lpgnas", 1.0, [60.0, 64.0], 800, precision={"a": "ternary"}),
  row("lpgnas", 0.1, [69.0, 73.0], 1600, precision={"a": "scaled6"}),
  row("float", None, [70.0, 75.0], 16000),
]


def test_the_table_is_paired_with_float():
  found = table(ROWS)
  first, second, _ = (
    dict(zip(found.headers, cells, strict=True)) for cells in found.rows
  )
  assert first["Method"] == "float" and first["Difference"] == "–"
  assert second["Beta"] == "0.1" and second["After (%)"] == "71.00 ± 1.41"
  # Differences of -1 and -2: their sample deviation 0.71, over sqrt(2).
  assert second["Difference"] == "-1.50 ± 0.50"
  assert second["Share of the float bits (%)"] == "10.0"
  assert second["Model (kB)"] == "0.2"


def test_widths_by_component_and_search():
  found = widths(ROWS)
  assert found.headers == ("Component", "beta 0.1, seed 0", "beta 1, seed 0")
  assert found.rows == (("a", "6", "2"),)


def test_the_section_draws():
  diverged = record.Record("lpgnas_ghn", ROWS[0].cell, "c", {}, "diverged")
  for rows in (ROWS, [*ROWS, diverged], ROWS[2:]):
    blocks = section(Study(tuple(rows), {}, {}, {}))
    (figure,) = (block for block in blocks if hasattr(block, "draw"))
    assert figure.draw().axes[0].get_xscale() == "log"


def test_bad_input_is_one_sentence(ghn, tmp_path):
  for flags, words in (
    ([f"--ghn={tmp_path}/none.pt"], "there is no hypernetwork at"),
    ([f"--ghn={ghn}", "--methods=w4a9"], "did you mean w4a"),
    ([f"--ghn={ghn}", "--dataset=cora"], "give one of them"),
  ):
    out = tmp_path / "run"
    flags = [*flags, f"--output_dir={out}"]
    done = subprocess.run(
      [sys.executable, "-m", "experiments.lpgnas", *flags],
      capture_output=True,
      text=True,
      timeout=240,
    )
    assert done.returncode == 2, done.stderr
    assert words in done.stderr and not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()
