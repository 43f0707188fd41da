"""Runs the project's commands as a user does."""

import subprocess
import sys


def run(module, *flags, timeout=240):
  """`python -m experiments.MODULE FLAGS`, ended, with what it printed."""
  return subprocess.run(
    [sys.executable, "-m", f"experiments.{module}", *flags],
    capture_output=True,
    text=True,
    timeout=timeout,
  )


def assert_refused(done, words):
  """Exit code 2 and one sentence that holds `words`, nothing else."""
  assert done.returncode == 2, done.stderr
  assert words in done.stderr
  assert "Traceback" not in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1
  assert done.stdout == ""
