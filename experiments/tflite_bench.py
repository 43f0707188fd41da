"""Size, latency and memory of TensorFlow Lite files in LiteRT.

  python -m experiments.tflite_bench --models='runs/*/cells/*/*.tflite'
  python -m experiments.tflite_bench --models=a.tflite,b.tflite --threads=1,2

Each file runs in a process of its own, once to warm up and then --runs times
on random input; the latencies are of single calls. Seconds per file.
"""

import glob
import json
import os
import subprocess
import sys

from absl import flags

from experiments import app
from qinit.errors import ExportError, QinitError

_MODELS = flags.DEFINE_string(
  "models", None, "Comma list of files; * and ? as in a shell."
)
_RUNS = flags.DEFINE_integer("runs", 50, "Timed runs.", lower_bound=1)
_THREADS = flags.DEFINE_string("threads", "1", "Comma list of thread counts.")

_HEADER = "model  types  KiB  threads  median_ms  p90_ms  peak_MiB  delegates"


def main(argv):
  del argv
  paths, threads = files(_MODELS.value), counts(_THREADS.value)
  print(_HEADER, flush=True)
  for path in paths:
    for count in threads:
      print(line(path, measure(path, count, _RUNS.value)), flush=True)


def files(patterns: str | None) -> list[str]:
  """The files that a comma list of patterns names; raises QinitError."""
  if not patterns:
    raise QinitError("--models is missing: name files, such as 'runs/*.tflite'")
  found = []
  for pattern in patterns.split(","):
    matching = sorted(glob.glob(pattern.strip(), recursive=True))
    if not matching:
      raise QinitError(f"there is no file {pattern.strip()}")
    found += matching
  return found


def counts(text: str) -> list[int]:
  """Thread counts; raises QinitError."""
  parts = [part.strip() for part in text.split(",")]
  if not all(part.isdigit() and int(part) for part in parts):
    raise QinitError(f"--threads={text}: write counts such as 1,2,4")
  return [int(part) for part in parts]


def measure(path: str, threads: int, runs: int) -> dict:
  """What a fresh process finds, so that its memory is this file's.

  Raises:
    ExportError: if LiteRT refuses the file.
  """
  command = [sys.executable, "-m", "qinit.export.latency", path]
  done = subprocess.run(
    [*command, str(threads), str(runs)], capture_output=True, text=True
  )
  if done.returncode:
    last = (done.stderr.strip().splitlines() or ["it ended early"])[-1]
    raise ExportError(f"{path} is no model that LiteRT can run: {last}")
  return json.loads(done.stdout.splitlines()[-1])


def line(path: str, found: dict) -> str:
  """One row of the table."""
  return "  ".join(
    [
      path,
      "+".join(found["types"]),
      f"{os.path.getsize(path) / 1024:.1f}",
      str(found["threads"]),
      f"{found['median_ms']:.3f}",
      f"{found['p90_ms']:.3f}",
      f"{found['peak_mib']:.1f}",
      f"{found['delegates']} of {found['operators']} operators",
    ]
  )


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
