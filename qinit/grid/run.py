"""Runs what is missing of a grid and keeps the rows."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from qinit import record
from qinit.grid.task import Engine, Task, Watcher, Work
from qinit.record import Record


class Study(Protocol):
  """A grid and the settings that its cells share. An engine may send it to
  other processes."""

  @property
  def output_dir(self) -> str:
    """The run folder."""

  def identity(self) -> dict:
    """The settings that make two runs the same, the cells' axes apart."""

  def cells(self) -> tuple:
    """The cells in the grid's order; `str` names one."""

  def rows(self, cell) -> list[dict]:
    """The `Record.cell` of each row that the cell has."""

  def work(self, cell, rows: list[dict], watch: Watcher) -> Iterator[Record]:
    """Makes these rows of a cell, going on where its folder stands."""


def serial(work: Work, tasks: list[Task], watch: Watcher) -> Iterator[Record]:
  """The engine that runs one cell after the other in this process."""
  for task in tasks:
    watch.start(task.index, task.title)
    yield from work(task.cell, task.rows, watch)
    gc.collect()  # traced functions hold their models in cycles


def run(
  study: Study, watch: Watcher | None = None, engine: Engine = serial
) -> Iterator[Record]:
  """Yields the rows that the run folder holds, in the grid's order, then the
  others as they are made; each is in `records.jsonl` before it is yielded.

  Raises:
    RunError: if the folder belongs to other settings.
  """
  watch, folder = watch or Watcher(), Path(study.output_dir)
  record.open_run(folder, study.identity())
  known, complaints = record.read(folder / "records.jsonl")
  for complaint in complaints:
    watch.say(complaint)
  found, tasks = _sorted(study, {_key(row.cell): row for row in known})
  yield from found
  for row in engine(study.work, tasks, watch):
    record.append(folder / "records.jsonl", row)
    yield row


def _sorted(study, known):
  """The rows of the grid that are known, and a task for each cell that lacks
  some."""
  found, tasks = [], []
  for index, cell in enumerate(study.cells()):
    rows = study.rows(cell)
    missing = [row for row in rows if _key(row) not in known]
    found += [known[_key(row)] for row in rows if _key(row) in known]
    if missing:
      tasks.append(Task(index, cell, missing))
  return found, tasks


def _key(cell: dict):
  return tuple(sorted((name, str(value)) for name, value in cell.items()))
