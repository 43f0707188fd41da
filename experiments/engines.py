"""The flags that say where the cells of a grid run, and its running."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from experiments import app
from experiments.progress import ProgressLine
from qinit.errors import one_of
from qinit.grid import run as grid
from qinit.grid.task import Engine
from qinit.record import Record

_ENGINE = flags.DEFINE_string(
  "engine",
  "local",
  "local: on this machine; ray: on the Ray of --ray_address, which shares the"
  " file system of --output_dir.",
)
_JOBS = flags.DEFINE_integer(
  "jobs",
  1,
  "Cells that run at once with --engine=local; they share the threads.",
  lower_bound=1,
)
_ADDRESS = flags.DEFINE_string(
  "ray_address",
  None,
  "host:port or auto; by default RAY_ADDRESS, or a Ray of its own.",
)
_CPUS = flags.DEFINE_integer(
  "cpus_per_cell", 1, "Cores of a cell with --engine=ray.", lower_bound=1
)
_GPUS = flags.DEFINE_float(
  "gpus_per_cell",
  0.0,
  "GPUs of a cell with --engine=ray; cells may share one.",
  lower_bound=0.0,
)
_RETRIES = flags.DEFINE_integer(
  "retries",
  2,
  "How often a cell is begun again whose process died.",
  lower_bound=0,
)


def engine() -> Engine:
  """What the flags ask for; raises QinitError for an unknown engine."""
  if one_of("engine", _ENGINE.value, ("local", "ray")) == "ray":
    from qinit.grid.cluster import cluster

    return functools.partial(
      cluster,
      address=_ADDRESS.value,
      cpus=_CPUS.value,
      gpus=_GPUS.value,
      retries=_RETRIES.value,
    )
  if _JOBS.value > 1:
    from qinit.grid.processes import processes

    return functools.partial(
      processes, jobs=_JOBS.value, retries=_RETRIES.value
    )
  from qinit.grid.run import serial

  return serial


def carry_out(
  study: grid.Study,
  line: type[ProgressLine],
  summary: Callable[[Record], str],
  finished: Callable[[Record], None] = lambda record: None,
) -> None:
  """Runs the grid, prints each row as it comes, and makes the report.

  Args:
    line: shows how far it is.
    summary: a row as a line.
    finished: is called with each row.
  """
  watch = line(len(study.cells()), quiet=app.quiet())
  for record in grid.run(study, watch, engine()):
    print(summary(record), flush=True)
    finished(record)
  from qinit.report import run as report

  for complaint in report.rebuild(study.output_dir):
    print(complaint, file=sys.stderr)
  for name in ("results.csv", "report.html", "cells"):
    if (path := Path(study.output_dir) / name).exists():
      print(path)
