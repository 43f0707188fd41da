"""Accuracy while a network trains, and what else is seen on the way."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from qinit.files import write_text
from qinit.keras.fit import Progress

# Test images on which the curve is measured, and points of it per epoch.
IMAGES, _PER_EPOCH = 1000, 4


class Curve:
  """Called with the progress of a training, measures accuracy now and then.

  The points lie in a file, so that an interrupted training keeps its curve.

  Args:
    path: of the CSV file, columns step and accuracy (percent).
    accuracy: measures the network as it is.
    first_step: steps that the network was trained before.
  """

  def __init__(
    self, path: Path, accuracy: Callable[[], float], first_step: int = 0
  ):
    self.path, self.accuracy, self.first_step = path, accuracy, first_step
    self.points: dict[int, float] = {}
    if path.exists():
      with path.open() as file:
        rows = list(csv.reader(file))[1:]
      self.points = {int(step): float(value) for step, value in rows}

  def __call__(self, progress: Progress) -> None:
    done = progress.epoch * progress.steps + progress.step
    quarter = max(1, progress.steps // _PER_EPOCH)
    ends_epoch = progress.step == progress.steps
    # Progress comes every few steps: the first report in each quarter counts.
    last = max((s - self.first_step for s in self.points), default=0)
    if ends_epoch or done // quarter > last // quarter:
      self.measure(done)

  def measure(self, done: int) -> None:
    """Adds the point of now, `done` steps into this training."""
    self.points[self.first_step + done] = float(self.accuracy())
    write_text(self.path, to_csv(("step", "accuracy"), self.rows()))

  def rows(self) -> list[list]:
    return [[step, self.points[step]] for step in sorted(self.points)]


def to_csv(header, rows) -> str:
  """Comma-separated values."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerows([header, *rows])
  return text.getvalue()
