"""A grid whose cells take no time, and die or fail where they are told to."""

import dataclasses
import logging
import os
import signal
import time
from pathlib import Path

from qinit.errors import DataError
from qinit.record import Record


@dataclasses.dataclass(frozen=True)
class ToyStudy:
  """Cell n has the rows (n, 0) and (n, 1), with metrics n and n squared.

  Attributes:
    deaths: how often the process of the last cell is killed, between its
      rows.
    broken: the cell that raises DataError.
    pause: seconds before every row.
  """

  output_dir: str
  count: int = 4
  deaths: int = 0
  broken: int = -1
  pause: float = 0.0

  def identity(self):
    return {"toy": True}

  def cells(self):
    return tuple(range(self.count))

  def rows(self, cell):
    return [{"n": cell, "power": power} for power in (1, 2)]

  def work(self, cell, rows, watch):
    if cell == self.broken:
      raise DataError("cell is broken")
    (Path(self.output_dir) / f"begun_{cell}_{os.getpid()}").touch()
    logging.getLogger("tensorflow").warning("retraced")
    for row in rows:
      time.sleep(self.pause)
      watch.say(f"power {row['power']}")
      watch(row["n"])
      yield Record("toy", row, "", {"value": cell ** row["power"]})
      if cell == self.count - 1 and self._dies():
        os.kill(os.getpid(), signal.SIGKILL)

  def _dies(self):
    begun = Path(self.output_dir).glob(f"begun_{self.count - 1}_*")
    return len(list(begun)) <= self.deaths


def values(rows):
  """What the rows say, whatever order they came in."""
  return sorted(
    (r.cell["n"], r.cell["power"], r.metrics["value"]) for r in rows
  )


ALL = [(n, power, n**power) for n in range(4) for power in (1, 2)]
