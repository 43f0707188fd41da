"""SIGKILL anywhere; the same command ends in the row of an undisturbed run."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

_SETTINGS = (
  "--preset=quick",
  "--arch=regular_conv_bn",
  "--epochs=4",
  "--calibration_images=200",
)
_TIMEOUT = 240


def test_killed_in_training_calibration_and_export(tmp_path):
  undisturbed = tmp_path / "undisturbed"
  _run(undisturbed)
  disturbed = tmp_path / "disturbed"
  cell = disturbed / "cells" / "regular_conv_bn__he_uniform__s0"

  _kill(disturbed, lambda line: "epoch 2/4" in line)  # in training
  assert not (disturbed / "records.jsonl").exists()
  _kill(disturbed, lambda line: "quantising" in line)  # in calibration
  assert not (cell / "model_quint8.tflite").exists()
  _kill(disturbed, lambda _: _waited_for(cell / "model_quint8.tflite"))
  assert not (disturbed / "records.jsonl").exists()  # in export

  said = _run(disturbed)
  assert "epoch" not in said  # nothing was trained twice
  assert _metrics(disturbed) == _metrics(undisturbed)
  for name in ("layerwise.csv", "model_quint8.tflite"):
    other = undisturbed / "cells" / cell.name / name
    assert (cell / name).read_bytes() == other.read_bytes()


def _command(folder):
  module = [sys.executable, "-m", "experiments.init_study"]
  return [*module, *_SETTINGS, f"--output_dir={folder}"]


def _run(folder):
  done = subprocess.run(
    _command(folder), capture_output=True, text=True, timeout=_TIMEOUT
  )
  assert done.returncode == 0, done.stderr
  return done.stderr


def _kill(folder, moment):
  """Runs the command and kills it when `moment(line of stderr)` is true."""
  process = subprocess.Popen(
    _command(folder),
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
  )
  with process:
    for line in process.stderr:
      if moment(line):
        process.send_signal(signal.SIGKILL)
        break
    process.stderr.read()
  assert process.returncode == -signal.SIGKILL


def _waited_for(path: Path):
  """Waits for the file, from the first line of output on."""
  end = time.monotonic() + _TIMEOUT
  while not path.exists():
    assert time.monotonic() < end, f"{path} never came"
    time.sleep(0.002)
  return True


def _metrics(folder):
  (line,) = (folder / "records.jsonl").read_text().splitlines()
  return json.loads(line)["metrics"]
