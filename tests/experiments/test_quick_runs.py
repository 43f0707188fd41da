"""The commands of the README, small."""

import csv
import subprocess
import sys


def run(*words):
  done = subprocess.run(
    [sys.executable, "-m", *words], capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  return done


def test_quick_study_and_its_report(tmp_path):
  out = tmp_path / "run"
  flags = ["--preset=quick", "--epochs=6", f"--output_dir={out}"]
  done = run("experiments.init_study", *flags, "--verbosity=-1")
  assert "DWS_Conv_With_BN_HeUni (seed 0) w8a8: " in done.stdout
  assert "epoch" not in done.stderr
  for name in ("config.json", "records.jsonl", "results.csv", "report.html"):
    assert (out / name).exists()
  header = next(csv.reader((out / "results.csv").open()))
  assert header[:6] == [
    "Network Architecture",
    "FP32 Accuracy",
    "QUINT8 Accuracy",
    "QMSE",
    "QCE",
    "Percent Accuracy Decrease",
  ]
  cell = out / "cells" / "dws_conv_bn__he_uniform__s0"
  model, check = cell / "model_quint8.tflite", cell / "model_quint8.check.npz"
  run("qinit.export.device_check", str(model), str(check))
  assert (cell / "float.tflite").stat().st_size > model.stat().st_size
  (out / "report.html").unlink()
  run("experiments.report", f"--run={out}")
  assert (out / "report.html").exists()


def test_dry_run_prints_cells_and_cost_and_writes_nothing(tmp_path):
  out = tmp_path / "run"
  done = run(
    "experiments.init_study",
    "--dry_run",
    "--seeds=0,1",
    "--init=he_uniform,glorot_uniform",
    f"--output_dir={out}",
  )
  lines = done.stdout.strip().splitlines()
  assert len(lines) == 5
  assert lines[0].startswith("DWS_Conv_With_BN_HeUni (seed 0): about ")
  assert lines[-1].startswith("4 cell(s), about ")
  assert "about 20s" not in lines[0]  # which is what starting alone takes
  assert "GiB" in lines[-1]
  assert not out.exists()
