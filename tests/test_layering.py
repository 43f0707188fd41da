"""The imports prove the picture: data flows one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A module may import what is further left. Siblings share a place and do not
# import each other.
ORDER = [
  {"graph"},
  {"archs", "params"},
  {"functional", "keras"},
  {"quant"},
  {"ghn"},
  {"stats"},
  {"export"},
  {"lpgnas"},
  {"study"},
  {"report"},
]
# Anyone may import these; they import only what is named.
LEAVES = {
  "checkpoints": {"errors"},
  "errors": set(),
  "files": set(),
  "memory": set(),
  "quiet": set(),
  "record": {"errors", "files"},
  "data": {"errors", "files", "record"},
  "grid": {"errors", "files", "memory", "quiet", "record"},
}
LEVEL = {name: i for i, level in enumerate(ORDER) for name in level}

FILES = sorted((ROOT / "qinit").rglob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))


def imports(path, top_level_only=False):
  """Full names of all that a file imports, also inside functions."""
  tree = ast.parse(path.read_text())
  nodes = tree.body if top_level_only else ast.walk(tree)
  found = set()
  for node in nodes:
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: a relative import"
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return found


def part(name):
  """The subpackage or module right under qinit that `name` lies in."""
  parts = name.split(".")
  return parts[1] if parts[0] == "qinit" and len(parts) > 1 else None


def name_of(path):
  return str(path.relative_to(ROOT))


def owner(path):
  return path.relative_to(ROOT / "qinit").parts[0].removesuffix(".py")


def allowed(mine, other):
  if mine == other or other in LEAVES:
    return mine not in LEAVES or other in {mine, *LEAVES[mine]}
  return mine not in LEAVES and LEVEL[other] < LEVEL[mine]


EVERY_FILE = pytest.mark.parametrize("path", FILES, ids=name_of)


def test_every_part_has_its_place():
  parts = {owner(path) for path in FILES} - {"__init__"}
  assert parts <= set(LEVEL) | set(LEAVES)


@EVERY_FILE
def test_imports_go_one_way(path):
  mine = owner(path)
  others = {part(name) for name in imports(path)} - {None}
  if mine == "__init__":
    assert others <= {"quiet"}
    return
  assert {other for other in others if not allowed(mine, other)} == set()


@EVERY_FILE
def test_the_library_imports_no_experiment_and_reads_no_flag(path):
  for name in imports(path):
    assert name.split(".")[0] not in ("experiments", "tests"), name
    assert not name.startswith("absl.flags"), name


@pytest.mark.parametrize("path", FILES + EXPERIMENTS, ids=name_of)
def test_keras_is_keras_2_everywhere(path):
  for name in imports(path):
    assert name.split(".")[0] != "keras", name
    assert not name.startswith("tensorflow.keras"), name
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Attribute) and node.attr == "keras":
      assert getattr(node.value, "id", "") not in ("tf", "tensorflow"), path


@pytest.mark.parametrize("name", ["graph/spec.py", "graph/ops.py"])
def test_specs_import_tensorflow_only_to_run(name):
  heavy = (
    "tensorflow",
    "tf_keras",
    "qinit.graph.kernels",
    "qinit.graph.layers",
  )
  for found in imports(ROOT / "qinit" / name, top_level_only=True):
    assert not found.startswith(heavy)


def loaded_by(statement):
  """Names of the modules that a fresh interpreter holds after `statement`."""
  code = f"import sys; {statement}; print(*sys.modules)"
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  return set(result.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
  heavy = {"tensorflow", "tf_keras", "matplotlib", "sklearn", "scipy"}
  assert not loaded_by("import qinit") & (
    heavy
    | {
      "tensorflow_model_optimization",
      "tensorflow_datasets",
    }
  )


def test_tensorflow_loads_without_a_word():
  code = "import qinit; qinit.load_tensorflow(); import tensorflow"
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout + result.stderr == ""


def test_processes_can_share_a_gpu(monkeypatch):
  monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
  code = (
    "import os, qinit; qinit.load_tensorflow();"
    " print(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'])"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout == "true\n"


def test_the_core_loads_neither_tfmot_nor_tfds():
  loaded = loaded_by(
    "import qinit.keras.fit, qinit.functional.lsuv, qinit.data.dataset,"
    " qinit.params.initializers, qinit.archs.zoo, qinit.record"
  )
  assert "tf_keras" in loaded
  assert not loaded & {"tensorflow_model_optimization", "tensorflow_datasets"}


@pytest.mark.parametrize(
  "mine, other, verdict",
  [
    ("graph", "errors", True),
    ("graph", "archs", False),
    ("archs", "params", False),
    ("keras", "functional", False),
    ("keras", "data", True),
    ("stats", "quant", True),
    ("quant", "stats", False),
    ("data", "record", True),
    ("record", "data", False),
    ("data", "graph", False),
    ("errors", "record", False),
    ("data", "data", True),
  ],
)
def test_the_rule_itself(mine, other, verdict):
  assert allowed(mine, other) == verdict


def test_imports_inside_functions_are_seen(tmp_path):
  file = tmp_path / "a.py"
  file.write_text("def f():\n  from qinit import stats\n  import qinit.ghn.x")
  assert {part(n) for n in imports(file)} == {"stats", "ghn"}
