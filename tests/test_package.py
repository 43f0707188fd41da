"""The wheel holds what the package needs and nothing else."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("qinit", "experiments")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """Built from a copy: a build leaves folders behind, and reads them again."""
  copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("out")
  for folder in (*_PACKAGES, "tests"):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_ROOT / folder, copy / folder, ignore=ignored)
  for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
    shutil.copy(_ROOT / file, copy)
  options = ("--no-deps", "--no-build-isolation", "--quiet")
  subprocess.run(
    [sys.executable, "-m", "pip", "wheel", *options, f"--wheel-dir={out}", "."],
    cwd=copy,
    check=True,
  )
  with zipfile.ZipFile(next(out.glob("qinit-*.whl"))) as file:
    yield file


def test_every_module_and_all_data_are_in_it(wheel):
  wanted = {
    path.relative_to(_ROOT).as_posix()
    for package in _PACKAGES
    for path in (_ROOT / package).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
  }
  assert {"qinit/py.typed", "qinit/ghn/published/__init__.py"} < wanted
  assert wanted <= set(wheel.namelist())


def test_nothing_else_is_in_it(wheel):
  folders = {name.split("/")[0] for name in wheel.namelist()}
  folders = {name for name in folders if not name.endswith(".dist-info")}
  assert folders == set(_PACKAGES)


def test_help_of_a_command_shows_all_of_its_flags():
  code = "from experiments.init_study import cli; cli()"
  found = subprocess.run(
    [sys.executable, "-c", code, "--help"], capture_output=True, text=True
  )
  assert found.returncode == 0
  assert found.stdout.startswith("Trains CNNs from chosen initialisers")
  assert {"--init:", "--engine:"} <= set(found.stdout.split())


def test_every_command_exists(wheel):
  (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
  parser = configparser.ConfigParser()
  parser.read_string(wheel.read(name).decode())
  commands = dict(parser["console_scripts"])
  assert commands == {
    f"qinit-{path.stem.replace('_', '-')}": f"experiments.{path.stem}:cli"
    for path in (_ROOT / "experiments").glob("*.py")
    if "\ndef cli():" in path.read_text()
  }
