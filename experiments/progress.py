"""A live line on stderr that says how far a grid of trainings is."""

import sys
import time
from typing import TYPE_CHECKING

from qinit.grid.task import Watcher

if TYPE_CHECKING:  # loads TensorFlow
  from qinit.keras.fit import Progress


class ProgressLine(Watcher):
  """Shows cell, epoch, step, loss, accuracy and time left.

  On a terminal one line is rewritten; elsewhere an epoch is a line.
  """

  def __init__(self, cells: int, quiet: bool = False, stream=sys.stderr):
    self.cells, self.quiet, self.stream = cells, quiet, stream
    self.live = stream.isatty()
    self.title, self.begin, self.first = "", 0.0, 0

  def start(self, index: int, title: str) -> None:
    """A cell begins; `index` counts from 0."""
    self.title = f"[{index + 1}/{self.cells}] {title}"
    self.begin, self.first = time.monotonic(), -1

  def say(self, text: str) -> None:
    """A line of its own about the present cell."""
    self._write(f"{self.title}: {text}" if self.title else text, last=True)

  def beside(self) -> "ProgressLine":
    """Another line, which ends with every epoch: several share the stream."""
    line = type(self)(self.cells, self.quiet, self.stream)
    line.live = False
    return line

  def __call__(self, progress: "Progress") -> None:
    done = progress.epoch * progress.steps + progress.step
    if self.first < 0:
      self.first = done
    ends_epoch = progress.step == progress.steps
    if self.live or ends_epoch:
      self._write(
        f"{self.title}: epoch {progress.epoch + 1}/{progress.epochs}, step"
        f" {progress.step}/{progress.steps}, loss {progress.loss:.3f},"
        f" accuracy {progress.accuracy:.1f} %, {self._left(progress, done)}",
        last=ends_epoch,
      )

  def _left(self, progress, done):
    total = progress.epochs * progress.steps
    worked = done - self.first
    if not worked:
      return "time left unknown"
    seconds = (time.monotonic() - self.begin) * (total - done) / worked
    return f"{duration(seconds)} left"

  def _write(self, text, last):
    if self.quiet:
      return
    # "\033[K" clears what a longer line left behind.
    start, end = ("\r\033[K", "\n" if last else "") if self.live else ("", "\n")
    print(f"{start}{text}", end=end, file=self.stream, flush=True)


def duration(seconds: float) -> str:
  """75 -> "1m15s"."""
  hours, rest = divmod(round(seconds), 3600)
  minutes, seconds = divmod(rest, 60)
  if hours:
    return f"{hours}h{minutes:02d}m"
  return f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
