"""What a report says of the rows it is made from."""

from qinit.record import Record
from qinit.report.sources import run_on


def row(seconds, hardware="A", threads=1):
  env = {"seconds": seconds, "hardware": hardware, "threads": threads}
  return Record("kind", {}, "c", {}, env=env)


def test_minutes_and_machines_of_some_rows():
  rows = [row(60.0), row(90.0, "B", 2), row(900.0), Record("k", {}, "c", {})]
  assert run_on(rows) == (
    "Rows: 3, 1.5 minutes in the median, on A, 1 thread; B, 2 threads."
  )
  assert run_on(rows[3:]) == ""
