"""What an engine runs, and what it tells meanwhile."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from qinit.record import Record


@dataclasses.dataclass(frozen=True)
class Task:
  """A cell that has rows to make.

  Attributes:
    index: of the cell in the grid, from 0.
    cell: the study's own description of it.
    rows: the `Record.cell`s that are missing.
  """

  index: int
  cell: Any
  rows: list[dict]

  @property
  def title(self) -> str:
    return str(self.cell)


class Watcher:
  """What a caller of a grid hears of; the base class keeps quiet."""

  def start(self, index: int, title: str) -> None:
    """Cell number `index`, from 0, begins."""

  def say(self, text: str) -> None:
    """A word about the present cell."""

  def __call__(self, progress) -> None:
    """The present cell's training is so far."""

  def beside(self) -> "Watcher":
    """The watcher of one cell among several that run at once."""
    return self


class Relay(Watcher):
  """Passes on what a cell in another process tells.

  Args:
    send: takes the name of a Watcher's method and its arguments, which
      `replay` calls on the other side.
  """

  def __init__(self, send: Callable[[str, tuple], None]):
    self.send = send

  def start(self, index, title):
    self.send("start", (index, title))

  def say(self, text):
    self.send("say", (text,))

  def __call__(self, progress):
    self.send("__call__", (progress,))


def replay(watch: Watcher, method: str, arguments: tuple) -> None:
  """Tells `watch` what a Relay sent."""
  getattr(watch, method)(*arguments)


def thread_limits(count: int) -> dict[str, str]:
  """Environment variables that keep TensorFlow to so many threads."""
  kinds = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
  return dict.fromkeys(kinds, str(count))


Work = Callable[[Any, list[dict], Watcher], Iterator[Record]]
Engine = Callable[[Work, list[Task], Watcher], Iterator[Record]]
