import dataclasses
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinit import record
from qinit.errors import RunError
from qinit.record import Record

ROW = Record(
  kind="init_study",
  cell={"arch": "dws_conv_bn", "init": "he_uniform", "seed": 0},
  config="0123456789ab",
  metrics={"fp32_accuracy": 71.25, "qmse": float("inf")},
  env={"seconds": 3.5},
)

JSON = st.recursive(
  st.none()
  | st.booleans()
  | st.integers()
  | st.floats(allow_nan=False)
  | st.text(),
  lambda values: st.lists(values) | st.dictionaries(st.text(), values),
  max_leaves=8,
)


@pytest.fixture
def path(tmp_path):
  return tmp_path / "records.jsonl"


def test_a_record_is_one_json_line_with_the_promised_keys():
  line = ROW.to_json()
  assert "\n" not in line
  assert list(json.loads(line)) == sorted(
    ["schema", "kind", "cell", "config", "metrics", "status", "env"]
  )
  assert json.loads(line)["schema"] == 1


@given(
  st.dictionaries(st.text(), JSON),
  st.dictionaries(st.text(), JSON),
  st.sampled_from(["ok", "diverged", "failed"]),
)
def test_a_record_survives_json(cell, metrics, status):
  row = Record("qat", cell, "c", metrics, status)
  assert record.from_json(row.to_json()) == row


def changed(**fields):
  return json.dumps(dataclasses.asdict(ROW) | fields)


@pytest.mark.parametrize(
  "line, message",
  [
    ("", "Expecting value"),
    ('{"schema": 1', "Expecting"),
    ("[" * 100_000, "nested too deeply"),
    ("[]", "not a record"),
    ("{}", "not a record of schema 1"),
    (changed(schema=2), "not a record of schema 1"),
    (changed(cell=[]), "cell is no dict"),
    (changed(metrics=None), "metrics is no dict"),
    (changed(kind=1), "kind is no str"),
    (changed(status="fine"), "unknown status 'fine'"),
    (changed(extra=1), "missing or unknown"),
    ('{"schema": 1, "kind": "qat"}', "missing or unknown"),
  ],
)
def test_what_is_no_record_is_refused(line, message):
  with pytest.raises(ValueError, match=message):
    record.from_json(line)


def test_appended_records_are_read_in_order(path):
  rows = [dataclasses.replace(ROW, config=str(i)) for i in range(3)]
  for row in rows:
    record.append(path, row)
  assert record.read(path) == (rows, [])
  assert path.read_bytes().count(b"\n") == 3


def test_no_file_is_no_records(path):
  assert record.read(path) == ([], [])


def test_good_rows_are_kept_and_the_bad_line_is_named(path):
  record.append(path, ROW)
  with open(path, "ab") as file:
    file.write(b'{"schema": 1, "kind": "init_st\n\xff\xfe\n\n')
  record.append(path, ROW)
  rows, complaints = record.read(path)
  assert rows == [ROW, ROW]
  assert len(complaints) == 2
  for number, complaint in zip((2, 3), complaints, strict=True):
    assert f"{path}, line {number} is damaged" in complaint


def test_a_line_cut_by_a_kill_costs_no_other_line(path):
  record.append(path, ROW)
  record.append(path, ROW)
  content = path.read_bytes()
  path.write_bytes(content[:-30])
  record.append(path, ROW)
  rows, complaints = record.read(path)
  assert rows == [ROW, ROW]
  assert len(complaints) == 1 and "line 2" in complaints[0]


def test_a_record_is_on_the_disk_when_append_returns(path, monkeypatch):
  synced = []
  fsync = os.fsync

  def watched(handle):
    synced.append(path.read_bytes())
    fsync(handle)

  monkeypatch.setattr(os, "fsync", watched)
  record.append(path, ROW)
  assert synced == [ROW.to_json().encode() + b"\n"]


def test_two_processes_may_append_at_once(path):
  code = (
    "import sys; from qinit import record\n"
    "row = record.Record('qat', {'who': sys.argv[2]}, 'c', {'x': [0] * 900})\n"
    "for _ in range(50): record.append(sys.argv[1], row)"
  )
  workers = [
    subprocess.Popen([sys.executable, "-c", code, str(path), who])
    for who in "ab"
  ]
  assert [worker.wait() for worker in workers] == [0, 0]
  rows, complaints = record.read(path)
  assert complaints == []
  assert sorted(row.cell["who"] for row in rows) == ["a"] * 50 + ["b"] * 50


def test_the_digest_ignores_the_order_of_keys():
  assert record.digest({"a": 1, "b": [2]}) == record.digest({"b": [2], "a": 1})
  assert record.digest({"a": 1}) != record.digest({"a": 2})


def test_the_digest_by_sha256sum():
  # printf '{"a": 1}' | sha256sum
  assert record.digest({"a": 1}) == "f9d86028c6e0"


IDENTITY = {"epochs": 5, "bits": ["w8a8"]}


@pytest.fixture
def folder(tmp_path):
  return tmp_path / "new" / "run"


def test_a_new_run_folder_says_what_it_is(folder):
  record.open_run(folder, IDENTITY)
  assert os.listdir(folder) == ["config.json"]
  config = json.loads((folder / "config.json").read_text())
  assert config["identity"] == IDENTITY
  assert config["versions"]["python"].startswith("3.") and config["commit"]


def test_the_commit_is_never_that_of_another_repository(tmp_path, monkeypatch):
  git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(tmp_path)]
  subprocess.run([*git, "init", "--quiet"], check=True)
  empty = ["commit", "--quiet", "--allow-empty", "--message=empty"]
  subprocess.run([*git, *empty], check=True)
  monkeypatch.setattr(record, "__file__", str(tmp_path / "record.py"))
  assert record.environment(0.0)["commit"] == "unknown"


def test_the_same_identity_is_welcome_and_the_file_stays(folder):
  record.open_run(folder, IDENTITY)
  before = (folder / "config.json").read_bytes()
  record.open_run(folder, dict(reversed(IDENTITY.items())))
  assert (folder / "config.json").read_bytes() == before


def test_tuples_are_the_lists_that_json_makes_of_them(folder):
  record.open_run(folder, {"bits": ("w8a8", "w4a4")})
  record.open_run(folder, {"bits": ("w8a8", "w4a4")})


def test_other_settings_are_named(folder):
  record.open_run(folder, IDENTITY)
  other = {"epochs": 6, "bits": ["w8a8"], "width": 1.0}
  with pytest.raises(RunError, match=r"\(epochs, width\).*--output_dir"):
    record.open_run(folder, other)


@pytest.mark.parametrize(
  "content", [b"", b"{", b"\xff", b"[]", b"{}", b"null", b'{"identity": 3}']
)
def test_a_damaged_identity_is_named(folder, content):
  folder.mkdir(parents=True)
  (folder / "config.json").write_bytes(content)
  with pytest.raises(RunError, match=r"config\.json is damaged"):
    record.open_run(folder, IDENTITY)


def test_the_hardware_names_the_gpus(monkeypatch):
  import tensorflow as tf

  plain = record.environment(0.0)["hardware"]
  monkeypatch.setattr(
    tf.config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"]
  )
  monkeypatch.setattr(
    tf.config.experimental,
    "get_device_details",
    lambda gpu: {"device_name": "NVIDIA H100"} if gpu == "GPU:0" else {},
  )
  assert record.environment(0.0)["hardware"] == f"{plain}, NVIDIA H100, GPU"


def test_the_environment_says_where_a_row_was_made():
  env = record.environment(1.26)
  assert env["seconds"] == 1.3
  assert env["threads"] == os.cpu_count()
  assert env["versions"]["python"].startswith("3.")
  assert "tensorflow" in env["versions"]
  assert env["hardware"]
  assert json.loads(json.dumps(env)) == env


def test_the_threads_are_those_of_all_that_runs_at_once(monkeypatch):
  monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
  assert record.environment(0.0)["threads"] == 3
  assert record.environment(0.0, beside=2)["threads"] == 6
