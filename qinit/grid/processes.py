"""An engine: cells side by side in processes of this machine."""

import collections
import contextlib
import gc
import multiprocessing
import os
import threading
import traceback
from collections.abc import Iterator
from multiprocessing import connection

from qinit import memory
from qinit.errors import RunError
from qinit.grid.task import Relay, Task, Watcher, Work, replay, thread_limits
from qinit.quiet import mute_tensorflow, silenced
from qinit.record import Record


def processes(
  work: Work,
  tasks: list[Task],
  watch: Watcher,
  jobs: int,
  retries: int = 2,
  largest: float = 4,
) -> Iterator[Record]:
  """Yields each cell's rows when it is done.

  Args:
    jobs: processes; they share the machine's threads evenly.
    retries: how often a cell is begun again whose process died.
    largest: GiB; a process that has taken more ends with its cell, for
      TensorFlow never forgets a graph that has a custom gradient.

  Raises:
    RunError: if a cell's processes died more often.
    Exception: what a cell raises.
  """
  pool = _Pool(work, watch, jobs, retries, largest)
  try:
    yield from pool.run(tasks)
  finally:
    pool.stop()


class _Pool:
  """Workers, what they do, and what is left to do."""

  def __init__(self, work, watch, jobs, retries, largest):
    self.work, self.watch = work, watch
    self.jobs, self.retries, self.largest = jobs, retries, largest
    self.threads = max(1, (os.cpu_count() or 1) // jobs)
    self.waiting = collections.deque()
    self.workers, self.deaths = [], collections.Counter()

  def run(self, tasks):
    self.waiting.extend(tasks)
    for _ in range(min(self.jobs, len(tasks))):
      self._begin()
    while self.workers:
      pipes = {worker.pipe: worker for worker in self.workers}
      for pipe in connection.wait(pipes):
        yield from self._hear(pipes[pipe])

  def stop(self):
    for worker in self.workers:
      worker.process.kill()

  def _hear(self, worker):
    """The rows of the worker's cell, if it is done; None is no news."""
    try:
      rows = worker.hear()
    except (EOFError, ConnectionResetError):
      self.workers.remove(worker)
      self._bury(worker)
      return
    if rows is not None:
      yield from rows
      self._give(worker)

  def _bury(self, worker):
    self.deaths[worker.task.index] += 1
    if self.deaths[worker.task.index] > self.retries:
      raise RunError(
        f"{worker.task.title}: its process died"
        f" {self.deaths[worker.task.index]} times (out of memory?): use fewer"
        " --jobs"
      )
    worker.watch.say("its process died; it begins again")
    self.waiting.appendleft(worker.task)
    self._begin()

  def _begin(self):
    worker = _Worker(self.work, self.watch.beside(), self.threads)
    self.workers.append(worker)
    self._give(worker)

  def _give(self, worker):
    if self.waiting and worker.peak <= self.largest * 2**30:
      worker.give(self.waiting.popleft())
      return
    self.workers.remove(worker)
    worker.process.kill()
    if self.waiting:
      self._begin()


class _Worker:
  """A process that runs one cell after the other; `peak` is what its memory
  was at most, in bytes."""

  def __init__(self, work, watch, threads):
    self.watch, self.task, self.peak = watch, None, 0
    context = multiprocessing.get_context("spawn")
    self.pipe, theirs = context.Pipe()
    self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with _environment(thread_limits(threads)):
      self.process.start()
    theirs.close()  # so that the pipe ends with the process
    self.pipe.send(work)

  def give(self, task: Task) -> None:
    self.task = task
    self.watch.start(task.index, task.title)
    self.pipe.send(task)

  def hear(self) -> list[Record] | None:
    """The next piece of news: rows if the cell is done.

    Raises:
      EOFError, ConnectionResetError: if the process has died.
      Exception: what the cell raised.
    """
    kind, news = self.pipe.recv()
    if kind == "error":
      raise news
    if kind == "rows":
      rows, self.peak = news
      return rows
    replay(self.watch, *news)
    return None


def _serve(pipe):
  """The life of a worker."""
  threading.Thread(target=_end_with_parent, daemon=True).start()
  with silenced():  # importing TensorFlow writes to stderr
    work = pipe.recv()
  mute_tensorflow()
  relay = Relay(lambda *event: pipe.send(("event", event)))
  while True:
    task = pipe.recv()
    try:
      rows = list(work(task.cell, task.rows, relay))
      pipe.send(("rows", (rows, memory.peak_bytes())))
      gc.collect()  # traced functions hold their models in cycles
    except Exception as error:
      error.add_note(traceback.format_exc())
      pipe.send(("error", error))


def _end_with_parent():
  """No cell goes on that nobody hears, beside the one that begins again."""
  connection.wait([multiprocessing.parent_process().sentinel])
  os._exit(1)


@contextlib.contextmanager
def _environment(variables):
  """Children that start here see `variables` too."""
  before = {name: os.environ.get(name) for name in variables}
  os.environ.update(variables)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value
