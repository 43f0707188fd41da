"""Hypernetworks from the command line: trained, killed, evaluated."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from qinit import ghn as hypernetworks
from tests import cifar10
from tests.commands import assert_refused, run

_TRAINING = (
  "--init_ghn=none",
  "--bits=w2a2",
  "--quantizer=noise",
  "--networks=4",
  "--meta_batch=2",
  "--batch_size=8",
  "--steps=4",
  "--checkpoint_minutes=0",
)
_TIMEOUT = 600

REFUSED = {
  "width": ("ghn_train", ["--bits=w9a8"], "2 to 8 bits"),
  "rate": ("ghn_train", ["--learning_rate=nan"], "--learning_rate must lie in"),
  "hypernetwork": ("ghn_train", ["--init_ghn=ghn_q"], "published are"),
  "no hypernetwork": ("ghn_eval", [], "--ghn is missing"),
  "no float": ("ghn_eval", ["--ghn=ghn-q", "--bits=w8a8"], "begins with float"),
  "split": ("ghn_eval", ["--ghn=ghn-q", "--splits=tests"], "mean test"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_named(case, tmp_path):
  module, flags, words = REFUSED[case]
  out = tmp_path / "run"
  flags = [f"--data_dir={cifar10.folder()}", "--networks=1", *flags]
  assert_refused(run(module, *flags, f"--output_dir={out}"), words)
  assert not out.exists()


@pytest.mark.long
def test_killed_and_trained_on_it_ends_in_the_same_hypernetwork(tmp_path):
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  said = _train(whole)
  assert re.search(r"step 4/4, loss \S+, accuracy \S+ %, .* left", said.stderr)
  assert "ghn: 4 steps, loss" in said.stdout

  _kill(parts, parts / "checkpoints" / "ckpt-2.index")
  assert not (parts / "records.jsonl").exists()
  assert list((parts / "logs").glob("events*"))  # TensorBoard's
  _train(parts)
  assert _row(parts)["metrics"] == _row(whole)["metrics"]
  first, second = (
    hypernetworks.load(folder / "ghn").weights for folder in (whole, parts)
  )
  for name, weight in first.items():
    np.testing.assert_array_equal(weight, second[name], name)
  assert "step" not in _train(parts).stderr  # nothing is trained twice

  flags = ("--bits=float,w2a2", "--splits=test", "--networks=1", "--sampled")
  place = f"--data_dir={cifar10.folder()}", f"--output_dir={tmp_path}/eval"
  done = run(
    "ghn_eval", f"--ghn={whole}/ghn", "--images=80", *flags, *place, timeout=300
  )
  assert done.returncode == 0, done.stderr
  assert "Top-1, %" in done.stdout and "Top-5, %" in done.stdout
  assert len(re.findall(r"\| whole \| (Float32|W2/A2) \|", done.stdout)) == 4
  lines = (tmp_path / "eval/records.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  assert [r["cell"]["bits"] for r in rows] == ["float", "w2a2"]
  assert [r["metrics"]["images"] for r in rows] == [80, 80]  # 64 and 16

  for folder in (whole, tmp_path / "eval"):
    done = run("report", f"--run={folder}")
    assert done.returncode == 0, done.stderr
    _, *lines = (folder / "results.csv").read_text().splitlines()
    assert len(lines) == (1 if folder == whole else 2)
    assert "Float32" in lines[0] or "W2/A2" in lines[0]
    assert list((folder / "figures").glob("*.png"))
    assert (folder / "report.html").exists()


def _flags(folder):
  places = f"--data_dir={cifar10.folder()}", f"--output_dir={folder}"
  return *_TRAINING, *places


def _train(folder):
  done = run("ghn_train", *_flags(folder), timeout=_TIMEOUT)
  assert done.returncode == 0, done.stderr
  return done


def _kill(folder, file):
  """Trains until the file is there."""
  command = [sys.executable, "-m", "experiments.ghn_train", *_flags(folder)]
  process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
  end = time.monotonic() + _TIMEOUT
  while not file.exists():
    assert process.poll() is None and time.monotonic() < end
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL


def _row(folder):
  (line,) = (folder / "records.jsonl").read_text().splitlines()
  return json.loads(line)
