"""Records: one JSON line per finished piece of work, written before anything
is drawn of it."""

import dataclasses
import errno
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import typing
from pathlib import Path

from qinit import files
from qinit.errors import RunError

SCHEMA = 1
STATUSES = ("ok", "diverged", "failed")


@dataclasses.dataclass(frozen=True)
class Record:
  """One result.

  Attributes:
    kind: the experiment ("init_study", "ghn_eval", ...).
    cell: the axes of the grid and their values here.
    config: digest of the settings that all cells share.
    metrics: numbers by name; accuracies in percent. Two runs gave the same
      result when their metrics are equal.
    status: "ok", "diverged" or "failed".
    env: hardware, threads (of all that ran at once), versions, commit, seconds.
  """

  kind: str
  cell: dict
  config: str
  metrics: dict
  status: str = "ok"
  env: dict = dataclasses.field(default_factory=dict)
  schema: int = SCHEMA

  def to_json(self) -> str:
    return json.dumps(dataclasses.asdict(self), sort_keys=True)


def from_json(line: str) -> Record:
  """Reads one line; raises ValueError if it is not a Record."""
  try:
    data = json.loads(line)
  except RecursionError:
    raise ValueError("nested too deeply") from None
  if not isinstance(data, dict) or data.get("schema") != SCHEMA:
    raise ValueError(f"not a record of schema {SCHEMA}")
  fields = typing.get_type_hints(Record)
  if set(data) != set(fields):
    raise ValueError("fields missing or unknown")
  for name, kind in fields.items():
    if not isinstance(data[name], kind):
      raise ValueError(f"{name} is no {kind.__name__}")
  if data["status"] not in STATUSES:
    raise ValueError(f"unknown status {data['status']!r}")
  return Record(**data)


def append(path: str | os.PathLike, record: Record) -> None:
  """Adds one line and waits until it is on the disk."""
  with open(path, "a+b") as file:
    if file.tell() and not _ends_in_newline(file):
      file.write(b"\n")
    file.write(record.to_json().encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def read(path: str | os.PathLike) -> tuple[list[Record], list[str]]:
  """The good records and, for each bad line, a sentence about it."""
  if not os.path.exists(path):
    return [], []
  records, complaints = [], []
  lines = Path(path).read_bytes().split(b"\n")
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      records.append(from_json(line.decode()))
    except ValueError as error:
      complaints.append(
        f"{os.fspath(path)}, line {number} is damaged and was left out"
        f" ({error})"
      )
  return records, complaints


def digest(settings: dict) -> str:
  """Twelve hex digits that identify a dictionary of settings."""
  text = json.dumps(settings, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def threads() -> int:
  """How many TensorFlow may use for an operation."""
  return int(os.getenv("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)


def operations() -> int:
  """How many operations TensorFlow may run at once."""
  return int(os.getenv("TF_NUM_INTEROP_THREADS") or os.cpu_count() or 1)


def environment(seconds: float, beside: int = 1) -> dict:
  """Where and with what a result was made. `beside`: operations of it that ran
  at once, with so many threads each."""
  return {
    "hardware": ", ".join([_processor(), *_gpus()]),
    "threads": beside * threads(),
    "versions": _versions(),
    "commit": _commit(),
    "seconds": round(seconds, 1),
  }


def open_run(folder: str | os.PathLike, identity: dict) -> None:
  """Writes `config.json` into a new run folder, or compares `identity` with
  the one that is there.

  Raises:
    RunError: if the file is damaged or holds another identity, or if nothing
      can be written into the folder.
  """
  path = Path(folder) / "config.json"
  if not path.exists():
    _make(path.parent)
    config = {
      "identity": identity,
      "versions": _versions(),
      "commit": _commit(),
    }
    files.write_text(path, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return
  identity = json.loads(json.dumps(identity))  # tuples become lists
  theirs = read_identity(path)
  other = [
    key
    for key in sorted(identity.keys() | theirs.keys())
    if identity.get(key) != theirs.get(key)
  ]
  if other:
    raise RunError(
      f"{folder} belongs to a run with other settings ({', '.join(other)}):"
      " choose another --output_dir"
    )


def read_identity(path: str | os.PathLike) -> dict:
  """The settings that a run's `config.json` holds; raises RunError if it is
  damaged."""
  path = Path(path)
  try:
    return dict(json.loads(path.read_text())["identity"])
  except (ValueError, KeyError, TypeError):
    raise RunError(
      f"{path} is damaged: delete the folder or choose another --output_dir"
    ) from None


def _make(folder):
  """Makes a folder, or sees that it can be written to."""
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
      raise
    raise RunError(
      f"cannot write into {folder} ({error.strerror}): choose another"
      " --output_dir"
    ) from None


def _ends_in_newline(file) -> bool:
  file.seek(-1, os.SEEK_END)
  return file.read(1) == b"\n"


def _processor() -> str:
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
      line.split(":", 1)[1].strip() for line in lines if "model name" in line
    )
  except (OSError, StopIteration):
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
  """Names of the GPUs that TensorFlow uses, if it is at work at all."""
  if "tensorflow" not in sys.modules:
    return []
  import tensorflow as tf

  details = tf.config.experimental.get_device_details
  gpus = tf.config.list_physical_devices("GPU")
  return [details(gpu).get("device_name", "GPU") for gpu in gpus]


def _versions() -> dict:
  from importlib import metadata

  names = ("tensorflow", "tf_keras", "numpy", "ai-edge-litert", "qinit")
  versions = {"python": platform.python_version()}
  for name in names:
    try:
      versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return versions


def _commit() -> str:
  here = Path(__file__)
  try:
    found = subprocess.run(
      # Not that of another repository that the package is installed in.
      ["git", "rev-parse", "HEAD", f"HEAD:./{here.name}"],
      capture_output=True,
      text=True,
      check=True,
      cwd=here.parent,
    ).stdout
  except (OSError, subprocess.CalledProcessError):
    return "unknown"
  return found[:12]
