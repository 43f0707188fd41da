import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qinit.export import device_check, tflite
from qinit.quant.integer import IntegerNetwork
from tests import quant_nets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("export")
  job = quant_nets.job(quant_nets.cell())
  tflite.write(path / "m.tflite", tflite.export(*job.args, batch_size=3))
  network = IntegerNetwork(*job.args)
  tflite.write_check(
    path / "m.check.npz", network, quant_nets.images(job.spec, 10)
  )
  return path


def check(folder, model="m.tflite", codes="m.check.npz"):
  return device_check.main([str(folder / model), str(folder / codes)])


def test_equal_codes(folder, capsys):
  assert check(folder) == 0
  assert capsys.readouterr().out == (
    "EQUAL: all 100 output codes of 10 images\n"
  )


def test_one_code_that_differs(folder, capsys):
  with np.load(folder / "m.check.npz") as saved:
    arrays = dict(saved)
  arrays["output_codes"][3, 2] ^= 4
  np.savez(folder / "other.npz", **arrays)
  assert check(folder, codes="other.npz") == 1
  assert capsys.readouterr().out == (
    "DIFFERENT: 1 of 100 output codes, by at most 4\n"
  )


@pytest.mark.parametrize(
  ("model", "codes", "message"),
  [
    ("m.tflite", "none.npz", "there is no file"),
    ("none.tflite", "m.check.npz", "cannot read"),
    ("m.tflite", "junk", "is damaged or no check file"),
    ("m.tflite", "wrong.npz", "the model takes uint8 of shape (16, 16, 3)"),
    ("m.tflite", "flat.npz", "the model takes uint8"),
    ("m.tflite", "m.tflite", "is damaged or no check file"),
    ("junk", "m.check.npz", "is no model that LiteRT can run"),
  ],
)
def test_bad_input_gets_one_sentence(folder, capsys, model, codes, message):
  (folder / "junk").write_bytes(b"junk" * 20)
  for name, shape in (("wrong", (2, 8, 8, 3)), ("flat", (7,))):
    np.savez(
      folder / f"{name}.npz",
      input_codes=np.zeros(shape, np.uint8),
      output_codes=np.zeros((2, 10), np.uint8),
    )
  assert check(folder, model, codes) == 2
  captured = capsys.readouterr()
  assert captured.out == ""
  assert message in captured.err
  assert captured.err.count("\n") == 1


def test_runs_alone_without_the_package(folder, tmp_path):
  script = tmp_path / "device_check.py"
  script.write_bytes(Path(device_check.__file__).read_bytes())
  blocked = tmp_path / "qinit.py"
  blocked.write_text("raise ImportError('a device has no qinit')\n")
  (tmp_path / "tensorflow.py").write_text(blocked.read_text())
  done = subprocess.run(
    [sys.executable, script, folder / "m.tflite", folder / "m.check.npz"],
    env={"PATH": os.environ["PATH"]},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("EQUAL")
