"""Whatever engine runs a grid, its records are the same."""

import functools
import os
import subprocess
import sys
import time

import pytest

from qinit import record
from qinit.errors import DataError, RunError
from qinit.grid import run as grid
from qinit.grid.cluster import cluster
from qinit.grid.processes import processes
from qinit.grid.task import Watcher
from tests.toy_study import ALL, ToyStudy, values


@pytest.fixture(scope="module")
def ray():
  """A real Ray with two workers on this machine."""
  module = pytest.importorskip("ray")
  module.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
  yield module
  module.shutdown()


@pytest.fixture(params=["serial", "processes", "ray"])
def engine(request):
  if request.param == "serial":
    return grid.serial
  if request.param == "processes":
    return functools.partial(processes, jobs=2)
  request.getfixturevalue("ray")
  return cluster


@pytest.fixture(params=["processes", "ray"])
def mortal(request):
  """The engines whose workers may die: retries -> engine."""
  if request.param == "processes":
    return lambda retries: functools.partial(processes, jobs=2, retries=retries)
  request.getfixturevalue("ray")
  return lambda retries: functools.partial(cluster, retries=retries)


class Listener(Watcher):
  def __init__(self):
    self.heard = []

  def start(self, index, title):
    self.heard.append(("start", index, title))

  def say(self, text):
    self.heard.append(("say", text))

  def __call__(self, progress):
    self.heard.append(("progress", progress))


def stored(study):
  rows, complaints = record.read(f"{study.output_dir}/records.jsonl")
  assert not complaints
  return values(rows)


def test_processes_keep_tensorflows_warnings_to_themselves(tmp_path, capfd):
  engine = functools.partial(processes, jobs=2)
  assert values(grid.run(ToyStudy(str(tmp_path)), engine=engine)) == ALL
  assert "retraced" not in capfd.readouterr().err


def test_rows_and_news(tmp_path, engine):
  study, listener = ToyStudy(str(tmp_path)), Listener()
  assert values(grid.run(study, listener, engine)) == ALL == stored(study)
  wanted = [("start", n, str(n)) for n in range(4)]
  wanted += [("say", f"power {p}") for p in (1, 2)] * 4
  wanted += [("progress", n) for n in range(4)] * 2
  assert sorted(map(str, listener.heard)) == sorted(map(str, wanted))


def test_known_rows_come_first_and_are_not_made_again(tmp_path, engine):
  small = ToyStudy(str(tmp_path), count=2)
  list(grid.run(small))
  listener = Listener()
  rows = list(grid.run(ToyStudy(str(tmp_path)), listener, engine))
  assert values(rows[:4]) == ALL[:4] and values(rows) == ALL
  started = [heard[1] for heard in listener.heard if heard[0] == "start"]
  assert sorted(started) == [2, 3]


def test_a_dead_worker_loses_nothing_and_doubles_nothing(tmp_path, mortal):
  study = ToyStudy(str(tmp_path), deaths=1)
  assert values(grid.run(study, engine=mortal(2))) == ALL == stored(study)
  assert len(list(tmp_path.glob("begun_3_*"))) == 2


def test_workers_that_always_die_end_the_run(tmp_path, mortal):
  study = ToyStudy(str(tmp_path), count=1, deaths=9)
  with pytest.raises(RunError, match=r"^0: .* died"):
    list(grid.run(study, engine=mortal(1)))
  study = ToyStudy(str(tmp_path), count=1)  # the same command, later
  assert values(grid.run(study, engine=mortal(1))) == ALL[:2]


@pytest.mark.parametrize("largest, processes_begun", [(0, 4), (64, 1)])
def test_a_worker_that_has_grown_ends_with_its_cell(
  tmp_path, largest, processes_begun
):
  engine = functools.partial(processes, jobs=1, largest=largest)
  study = ToyStudy(str(tmp_path))
  assert values(grid.run(study, engine=engine)) == ALL == stored(study)
  pids = {path.name.split("_")[2] for path in tmp_path.glob("begun_*")}
  assert len(pids) == processes_begun


def test_what_a_cell_raises_is_raised(tmp_path, engine):
  with pytest.raises(DataError) as raised:
    list(grid.run(ToyStudy(str(tmp_path), broken=2), engine=engine))
  assert str(raised.value) == "cell is broken"


def test_workers_end_with_the_command_that_began_them(tmp_path):
  code = (
    "import functools; from qinit.grid.run import run;"
    "from qinit.grid.processes import processes;"
    "from tests.toy_study import ToyStudy;"
    f"study = ToyStudy({str(tmp_path)!r}, pause=60);"
    "list(run(study, engine=functools.partial(processes, jobs=2)))"
  )
  command = subprocess.Popen([sys.executable, "-c", code])
  assert until(lambda: len(list(tmp_path.glob("begun_*"))) == 2)
  command.kill()
  command.wait()
  workers = [int(p.name.split("_")[2]) for p in tmp_path.glob("begun_*")]
  assert until(lambda: not any(map(alive, workers)))


def until(happened, seconds=30):
  """Whether it happens in time."""
  end = time.monotonic() + seconds
  while not happened() and time.monotonic() < end:
    time.sleep(0.1)
  return happened()


def alive(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  return True


def test_a_damaged_row_is_told_and_made_again(tmp_path):
  study, listener = ToyStudy(str(tmp_path)), Listener()
  list(grid.run(study))
  path = tmp_path / "records.jsonl"
  path.write_text(path.read_text().replace('"toy"', "toy", 1))
  assert values(grid.run(study, listener)) == ALL
  assert "line 1 is damaged" in listener.heard[0][1]
