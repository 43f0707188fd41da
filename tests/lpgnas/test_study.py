"""The study's rows: made once, kept, and honest about failures."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qinit import record
from qinit.errors import QinitError, RunError
from qinit.grid import run as grid
from qinit.grid.task import Watcher
from qinit.report import run as report
from qinit.report.gnn_rows import groups
from qinit.report.lpgnas import best_float, section, table, widths
from qinit.report.publish import publish
from qinit.study import lpgnas
from qinit.study.lpgnas import LpgnasStudy
from tests.commands import assert_refused, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """Baselines on karate, and their rows."""
  study = LpgnasStudy(
    methods=("float_gcn", "w4a8_scaled_gcn", "degree_quant4_gcn"),
    epochs=20,
    output_dir=str(tmp_path_factory.mktemp("study") / "run"),
  )
  return study, list(grid.run(study))


def test_rows(finished):
  _, (plain, quantised, degree) = finished
  assert {row.status for row in (plain, quantised, degree)} == {"ok"}
  assert plain.cell == {
    "dataset": "karate",
    "split": "random602020",
    "method": "float_gcn",
    "beta": None,
    "seed": 0,
  }
  weights = 34 * 64 + 64 * 64 + 64 * 2
  assert plain.metrics["weight_bits"] == 32 * weights
  assert quantised.metrics["weight_bits"] == 4 * weights
  assert degree.metrics["weight_bits"] == 4 * weights
  assert 8 * degree.metrics["buffer_bits"] == plain.metrics["buffer_bits"]
  assert "integer_accuracy" not in plain.metrics
  m = quantised.metrics
  assert m["integer_equal"] == 100
  assert m["integer_accuracy"] == pytest.approx(m["test_accuracy"])
  assert 8 * m["integer_bytes"] == m["model_bits"]


def test_a_second_run_makes_nothing_again(finished):
  study, rows = finished

  class Counter(Watcher):
    reports = 0

    def __call__(self, progress):
      self.reports += 1

  counter = Counter()
  assert list(grid.run(study, counter)) == rows
  assert counter.reports == 0
  kept, complaints = record.read(f"{study.output_dir}/records.jsonl")
  assert (kept, complaints) == (rows, [])


def test_the_table_of_a_run_and_no_publishing_of_karate(finished, tmp_path):
  study, _ = finished
  assert report.rebuild(study.output_dir) == []
  lines = Path(study.output_dir, "results.csv").read_text().splitlines()
  assert lines[0].startswith("Method,Beta,Seeds,Test (%)")
  assert [line.split(",")[0] for line in lines[1:]] == [
    "float_gcn",
    "degree_quant4_gcn",
    "w4a8_scaled_gcn",
  ]
  with pytest.raises(RunError, match="karate are for quick looks"):
    publish(study.output_dir, tmp_path)


def test_other_settings_are_refused(finished):
  study, _ = finished
  with pytest.raises(RunError, match="epochs"):
    list(grid.run(dataclasses.replace(study, epochs=21)))
  with pytest.raises(QinitError, match="did you mean float_gcn"):
    LpgnasStudy(methods=("float_gnc",))


def test_divergence_keeps_its_row(finished, tmp_path, monkeypatch):
  def spoilt(*args):
    raise FloatingPointError("the loss of the training is not finite")

  monkeypatch.setattr(lpgnas, "_measured", spoilt)
  out = str(tmp_path / "run")
  (row,) = grid.run(
    dataclasses.replace(finished[0], methods=("float_gcn",), output_dir=out)
  )
  assert (row.status, row.metrics) == ("diverged", {})


def test_cells_have_a_beta_only_where_it_means_something():
  study = LpgnasStudy(
    methods=("lpgnas", "float_gcn"), betas=(0.1, 1.0), seeds=(0, 1)
  )
  names = [cell.folder_name for cell in study.cells()]
  assert names == [
    "lpgnas__b0.1__s0",
    "lpgnas__b1__s0",
    "lpgnas__b0.1__s1",
    "lpgnas__b1__s1",
    "float_gcn__s0",
    "float_gcn__s1",
  ]


def row(method, beta, seed, accuracy, bits):
  """A row as a search would leave it."""
  from qinit.lpgnas.baselines import ARCHITECTURES, uniform_precision

  arch = ARCHITECTURES["gcn"]
  precision = uniform_precision("w4a8_scaled", arch)
  return record.Record(
    "lpgnas",
    dict(dataset="d", split="s", method=method, beta=beta, seed=seed),
    "c",
    {
      "test_accuracy": accuracy,
      "val_accuracy": accuracy,
      "model_bits": bits,
      "weight_bits": bits,
      "buffer_bits": 80.0,
      "network": {"arch": arch.to_dict(), "precision": precision},
    },
  )


def test_the_table_and_its_verdicts():
  rows = [
    row("float_gcn", None, 0, 90.0, 8000),
    row("float_gat", None, 0, 80.0, 9000),
    row("lpgnas", 0.1, 0, 89.0, 1200),
    row("lpgnas", 0.1, 1, 90.0, 800),
    row("lpgnas", 1.0, 0, 70.0, 100),
    row("lpgnas", 0.01, 0, 91.0, 2000),  # too large to count
    row("w4a8_fixed_gcn", None, 0, 88.0, 1000),
    row("w4a8_scaled_gcn", None, 0, 91.0, 1000),
  ]
  found = groups(rows)
  assert best_float(found).method == "float_gcn"
  first = dict(zip(table(found).headers, table(found).rows[1], strict=True))
  assert first["Test (%)"] == "89.50" and first["SD"] == "0.71"
  assert first["Share of the float weights"] == "1/8.0"
  text = " ".join(getattr(block, "text", "") for block in section_of(rows))
  assert "0.50 at 1/8.0 (beta 0.1), 20.00 at 1/80.0 (beta 1). The" in text
  assert "met with beta 0.1. The validation nodes would choose beta 0.1" in text
  assert "(w4a8_scaled_gcn) is 1.00 points above it at 1/8.0" in text
  assert "falls as beta grows: 0.2, 0.1, 0.0 kB" in text


def section_of(rows):
  from qinit.report.sources import Study

  return section(Study(tuple(rows), {}, {}, {}))


def test_widths_chosen_are_counted():
  found = widths([row("lpgnas", 0.1, 0, 89.0, 1000)])
  shares = {r[0]: dict(zip(found.headers, r, strict=True)) for r in found.rows}
  assert shares["weight"]["4 bits"] == "100 %"
  assert shares["activation"]["Mean"] == "8.00"


@pytest.mark.parametrize(
  "flags, words",
  [
    (["--dataset=coraa"], "did you mean cora"),
    (["--dataset=pubmed", "--data_dir=."], "get the data from github.com"),
    (["--split=planetoid"], "karate has only the split random602020"),
    (["--beta=-1"], "--beta"),
  ],
)
def test_bad_input_is_one_sentence(flags, words, tmp_path):
  done = command(*flags, f"--output_dir={tmp_path / 'run'}")
  assert_refused(done, words)
  assert not (tmp_path / "run").exists()


def command(*flags):
  return run("lpgnas", *flags, timeout=900)


@pytest.mark.long
def test_killed_and_run_again(tmp_path):
  """SIGKILL in the search and in the training; the same row in the end."""
  settings = ("--finalists=3",)
  rows = {}
  for name, moments in (
    ("undisturbed", ()),
    ("disturbed", ("epoch 40/60", "searched in", "epoch 55/60")),
  ):
    flags = (*settings, f"--output_dir={tmp_path / name}")
    for moment in moments:
      _kill(flags, moment)
    done = command(*flags)
    assert done.returncode == 0, done.stderr
    (rows[name],) = record.read(tmp_path / name / "records.jsonl")[0]
    assert (tmp_path / name / "report.html").exists()
  assert rows["disturbed"].metrics == rows["undisturbed"].metrics
  models = [Path(tmp_path / n).glob("cells/*/model.npz") for n in rows]
  first, second = (next(m).read_bytes() for m in models)
  assert first == second


def _kill(flags, moment):
  process = subprocess.Popen(
    [sys.executable, "-m", "experiments.lpgnas", *flags],
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
  )
  with process:
    for line in process.stderr:
      if moment in line:
        process.send_signal(signal.SIGKILL)
        break
    process.stderr.read()
  assert process.returncode == -signal.SIGKILL
