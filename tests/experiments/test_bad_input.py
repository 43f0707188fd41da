"""Bad input: one sentence that names the remedy, exit code 2, no traceback."""

import os
import subprocess
import sys

import pytest

from tests.commands import assert_refused, run

# The command on a machine that reaches nothing.
_OFFLINE = """
import socket

def unreachable(*args, **kwargs):
  raise OSError("no network")

socket.getaddrinfo = unreachable
from experiments.init_study import cli
cli()
"""

CASES = {
  "unknown init": (["--init=he_unifrm"], "he_uniform"),
  "unknown arch": (["--arch=dws_convbn"], "dws_conv_bn"),
  "unknown preset": (["--preset=fast"], "quick"),
  "unknown data": (["--dataset=mnist"], "digits"),
  "nine bits": (["--bits=w9a8"], "2 to 8 bits"),
  "one bit": (["--bits=w8a1"], "2 to 8 bits"),
  "float": (["--bits=float"], "leave float out"),
  "no width": (["--bits=int8"], "w8a4"),
  "seed": (["--seeds=-1"], "--seeds=0,1,2"),
  "epochs": (["--epochs=0"], "--epochs"),
  "clip": (["--clip_percentile=50"], "--clip_percentile"),
  "unknown flag": (["--inits=he_uniform"], "inits"),
  "stray word": (["he_uniform"], "not a flag"),
}


@pytest.mark.parametrize("case", CASES)
def test_init_study_refuses(case, tmp_path):
  flags, words = CASES[case]
  out = tmp_path / "run"
  assert_refused(run("init_study", *flags, f"--output_dir={out}"), words)
  assert not out.exists()


def test_missing_data_names_digits(tmp_path):
  flags = f"--data_dir={tmp_path}/none", f"--output_dir={tmp_path}/run"
  done = subprocess.run(
    [sys.executable, "-c", _OFFLINE, *flags],
    env={k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
    capture_output=True,
    text=True,
    timeout=240,
  )
  assert done.returncode == 2
  assert "--dataset=digits" in done.stderr
  assert "--data_dir" in done.stderr
  assert "Traceback" not in done.stderr


def test_a_foreign_folder_is_left_alone(tmp_path):
  config = tmp_path / "config.json"
  config.write_text('{"identity": {"epochs": 1}}')
  done = run("init_study", "--preset=quick", f"--output_dir={tmp_path}")
  assert_refused(done, "choose another --output_dir")
  assert config.read_text() == '{"identity": {"epochs": 1}}'


def test_an_output_folder_that_is_a_file(tmp_path):
  (tmp_path / "file").touch()
  done = run("init_study", "--preset=quick", f"--output_dir={tmp_path}/file")
  assert_refused(done, "choose another --output_dir")


@pytest.mark.parametrize(
  "command, flag",
  [
    ("convnets_dataset", "--output_dir={}"),
    ("report", "--results=results --output={}/RESULTS.md"),
  ],
)
def test_other_output_that_is_a_file(command, flag, tmp_path):
  file = tmp_path / "file"
  file.touch()
  done = run(command, *flag.format(file).split())
  assert_refused(done, f"cannot use {file}")


def test_a_damaged_config_is_named(tmp_path):
  (tmp_path / "config.json").write_text('{"identity":')
  done = run("init_study", "--preset=quick", f"--output_dir={tmp_path}")
  assert_refused(done, "config.json is damaged")


def test_unknown_bench_suite():
  assert_refused(run("bench", "--suite=speed"), "init_study")


def test_a_full_disk_is_no_traceback(monkeypatch, capsys):
  from experiments import app

  def main(argv):
    raise OSError(28, "No space left on device")

  with pytest.raises(SystemExit) as end:
    app._guarded(main, ["command"])
  assert end.value.code == 2
  assert "the disk is full" in capsys.readouterr().err
