"""Processes that sample chunks of candidates.

Worker k of n makes the chunks k, k + n, k + 2 n, ... for ever and writes them
to a pipe, which holds it up when it is ahead and ends it when nobody reads
any more. Plain subprocesses: forks would inherit TensorFlow's locks, and
multiprocessing would import the caller's main module again.
"""

import contextlib
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator

from qinit.archs.collection import CHUNK, Network, Split, chunk


def chunks(split: Split, seed: int, processes: int) -> Iterator[list[Network]]:
  """All chunks of a split's stream in order, without end."""
  if processes == 1:
    for start in itertools.count(0, CHUNK):
      yield chunk(split, seed, start)
  with contextlib.ExitStack() as stack:
    workers = [
      stack.enter_context(_worker(split, seed, k, processes))
      for k in range(processes)
    ]
    for worker in itertools.cycle(workers):
      yield _read(worker)


@contextlib.contextmanager
def _worker(split, seed, number, processes):
  worker = subprocess.Popen(
    [sys.executable, "-m", "qinit.archs.workers"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    start_new_session=True,  # ^C is for the parent
  )
  try:
    with worker.stdin as stdin:
      pickle.dump((split, seed, number * CHUNK, processes * CHUNK), stdin)
    yield worker
  finally:
    worker.kill()
    worker.wait()
    worker.stdout.close()


def _read(worker):
  try:
    return pickle.load(worker.stdout)
  except EOFError:
    raise RuntimeError(
      f"a sampling process ended with code {worker.wait()}"
    ) from None


def _main():
  split, seed, start, step = pickle.load(sys.stdin.buffer)
  with contextlib.suppress(BrokenPipeError):
    for first in itertools.count(start, step):
      pickle.dump(chunk(split, seed, first), sys.stdout.buffer)
      sys.stdout.buffer.flush()


if __name__ == "__main__":
  _main()
