"""An engine: each cell is a Ray task, here or on a cluster that shares the
run folder's file system."""

import os
from collections.abc import Iterator

from qinit.errors import QinitError, RunError
from qinit.grid.task import Relay, Task, Watcher, Work, replay, thread_limits
from qinit.record import Record

_GLANCE = 0.5  # seconds between looks at the news


def cluster(
  work: Work,
  tasks: list[Task],
  watch: Watcher,
  address: str | None = None,
  cpus: float = 1,
  gpus: float = 0,
  retries: int = 2,
) -> Iterator[Record]:
  """Yields each cell's rows when it is done.

  Args:
    address: of a running Ray; None joins the one in RAY_ADDRESS or starts one
      on this machine.
    cpus, gpus: that a cell takes.
    retries: how often a cell is begun again whose worker died.

  Raises:
    QinitError: if Ray is not installed.
    RunError: if there is no Ray at `address`, or a cell's workers died more
      often.
    Exception: what a cell raises.
  """
  if not tasks:
    return
  ray = _connected(address)
  from ray.util.queue import Queue

  news = Queue(actor_options={"num_cpus": 0})
  watches: dict[int, Watcher] = {}
  remote = ray.remote(_remote).options(
    num_cpus=cpus,
    num_gpus=gpus,
    max_retries=retries,
    runtime_env={"env_vars": thread_limits(max(1, int(cpus)))},
  )
  sent = ray.put(work)
  pending = {remote.remote(sent, task, news): task for task in tasks}
  while pending:
    done, _ = ray.wait(list(pending), timeout=_GLANCE)
    _tell(news, watch, watches)
    for reference in done:
      yield from _rows(ray, reference, pending.pop(reference))


def _connected(address):
  try:
    import ray
  except ImportError:
    raise QinitError(
      "--engine=ray needs Ray: pip install 'qinit[cluster]'"
    ) from None
  # Workers import what this process can import, from the same places.
  paths = os.pathsep.join(filter(None, [os.getcwd(), os.getenv("PYTHONPATH")]))
  try:
    ray.init(
      address,
      ignore_reinit_error=True,
      log_to_driver=False,
      runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
  except ConnectionError as error:
    raise RunError(
      f"there is no Ray at {address or 'RAY_ADDRESS'} ({error}): start one"
      " with ray start --head, or leave out --ray_address"
    ) from None
  return ray


def _rows(ray, reference, task):
  try:
    return ray.get(reference)
  except ray.exceptions.WorkerCrashedError:
    raise RunError(
      f"{task.title}: its worker died again and again (out of memory?): give"
      " it more with --cpus_per_cell"
    ) from None
  except ray.exceptions.RayTaskError as error:
    raise error.cause from None


def _remote(work, task, news):
  """Runs in a worker."""
  relay = Relay(lambda *event: news.put((task.index, event)))
  relay.start(task.index, task.title)
  return list(work(task.cell, task.rows, relay))


def _tell(news, watch, watches):
  for index, event in news.get_nowait_batch(news.qsize()):
    if index not in watches:
      watches[index] = watch.beside()
    replay(watches[index], *event)
