"""The suite `lpgnas`: time of a search and of its steps, memory.

Real graphs come from QINIT_GRAPHS_DIR; without it only the steps are
measured, on the karate club.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import tensorflow as tf

from qinit.lpgnas import finals, graph_files
from qinit.lpgnas.search import Search, SearchConfig
from qinit.lpgnas.taps import Quantise
from qinit.lpgnas.training import TrainConfig, Trainer

Row = tuple[str, str, str]
_ROUNDS = 30


def run() -> Iterator[Row]:
  """(name, value, goal) as they are measured."""
  if not os.environ.get("QINIT_GRAPHS_DIR"):
    yield from _search("karate")
    return
  yield from _search("cora")
  yield _memory("coauthor_physics")


def _search(name) -> Iterator[Row]:
  graph = graph_files.load(name)
  search, begin = Search(graph, SearchConfig()), time.monotonic()
  cpu = time.process_time()
  derived = search.run()
  networks = [(derived.arch, derived.precision), *search.drawn(5)]
  finals.best(graph, networks, search.config, TrainConfig(), 100)
  seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
  goal = "at most 300 s on two cores"
  yield (
    f"a search on {name}, finals included",
    f"{seconds:.0f} s ({cpu:.0f} s of CPU)",
    goal,
  )
  tap = Quantise(derived.precision)
  trainer = Trainer(graph, derived.arch, TrainConfig(), tap)
  last = search.config.epochs - 1

  def step(nodes, which):
    ones, quiet = tf.constant([True, True]), tf.constant(0.0)
    sampling = tf.constant(0.5), quiet, ones, tf.constant([0, last])
    if which == "probe":
      search._probe(tf.constant(nodes), *sampling)
    else:
      search._step(tf.constant(nodes), *sampling, which, True)

  def alone():
    trainer.step(tf.constant([0, last]), True)

  for which, nodes, what in (
    ("weights", graph.train, "a step of the weights"),
    ("controllers", graph.val, "a step of the controllers"),
    ("probe", graph.val, "a network that the critic hears of"),
  ):
    ratio = _ratio(lambda w=which, n=nodes: step(n, w), alone)
    text = f"{what} over a step of the derived network alone, {name}, time"
    yield text, f"{ratio:.2f}", "at most 2"


def _ratio(ours, theirs) -> float:
  """Median of ratios taken in turn; the first calls trace."""
  ours(), theirs()
  return statistics.median(
    _seconds(ours) / _seconds(theirs) for _ in range(_ROUNDS)
  )


def _seconds(function):
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def _memory(name) -> Row:
  """A process of its own searches for a few epochs of each phase."""
  code = (
    "from experiments import bench_lpgnas as b; from qinit import memory;"
    f"b.search_briefly({name!r}); print(memory.peak_bytes() / 2**30)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  value = f"{float(done.stdout.split()[-1]):.2f} GiB"
  return f"peak memory of a search on {name}", value, "at most 6 GiB"


def search_briefly(name: str) -> None:
  """Twelve epochs through the three phases."""
  Search(graph_files.load(name), SearchConfig(epochs=12)).run()
