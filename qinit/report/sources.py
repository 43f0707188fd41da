"""What a report is made from: rows in a run folder, or committed rows."""

import dataclasses
import json
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from qinit import record
from qinit.errors import RunError
from qinit.record import Record
from qinit.report.tables import Layers
from qinit.stats.distribution import Distributions, read_distributions
from qinit.stats.layerwise import read_csv

_CELL = re.compile(r"(\w+?)__(\w+?)__s(\d+)")
SMALL_DATA = ("digits", "karate")

Cell = tuple[str, str, int]


@dataclasses.dataclass(frozen=True)
class Study:
  """The rows of one kind and what lies beside them.

  Attributes:
    records: the good rows.
    settings: for each `Record.config` the settings behind that digest, where
      known.
    layers: layerwise rows by (arch, init, seed).
    distributions: histograms by (arch, init, seed).
    complaints: a sentence about everything damaged, which was left out.
  """

  records: tuple[Record, ...]
  settings: dict[str, dict]
  layers: Layers
  distributions: dict[Cell, Distributions]
  complaints: tuple[str, ...] = ()


def from_run(folder: Path) -> Study:
  """Reads `records.jsonl`, `config.json` and `cells/*` of a run folder.

  Raises:
    RunError: if there is nothing to report.
  """
  if not folder.is_dir():
    raise RunError(f"there is no run folder {folder}")
  path = folder / "records.jsonl"
  records, complaints = record.read(path)
  if not records:
    damaged = f" ({len(complaints)} damaged lines)" if complaints else ""
    raise RunError(f"{path} holds no finished cell{damaged}: run a study first")
  identity = _identity(folder / "config.json", complaints)
  cells = folder / "cells"
  return Study(
    records=tuple(records),
    settings={r.config: identity for r in records},
    layers=_gather(cells, "*/layerwise*.csv", read_csv, complaints),
    distributions=_gather(
      cells, "*/distributions*.npz", read_distributions, complaints
    ),
    complaints=tuple(complaints),
  )


def from_results(folder: Path) -> Study:
  """Reads the committed rows `*.jsonl` of results/KIND, the settings in
  `*.json` (copies of `config.json`) and `layerwise/ARCH__INIT__sSEED.csv`.

  Rows of the small data sets that serve demonstrations are left out.
  """
  records, complaints = [], []
  for path in sorted(folder.glob("*.jsonl")):
    good, bad = record.read(path)
    records += good
    complaints += bad
  settings = {}
  for path in sorted(folder.glob("*.json")):
    identity = _identity(path, complaints)
    settings[record.digest(identity)] = identity
  small = {
    digest
    for digest, identity in settings.items()
    if identity.get("dataset") in SMALL_DATA
  }
  if left_out := sum(r.config in small for r in records):
    complaints.append(f"rows of a small data set left out: {left_out}")
  return Study(
    records=tuple(r for r in records if r.config not in small),
    settings=settings,
    layers=_gather(folder / "layerwise", "*.csv", read_csv, complaints),
    distributions={},
    complaints=tuple(complaints),
  )


def by_config(records: Iterable[Record]) -> dict[str, list[Record]]:
  """Rows of the same settings together, the most rows first: rows of
  different settings are never averaged."""
  parts: dict[str, list[Record]] = {}
  for one in records:
    parts.setdefault(one.config, []).append(one)
  return dict(sorted(parts.items(), key=lambda part: (-len(part[1]), part[0])))


def in_both(
  first: Iterable[Record], own: Iterable[Record]
) -> list[tuple[Record, Record]]:
  """The good rows of each cell that two sets of settings share."""
  before = {tuple(r.cell.items()): r for r in first if r.status == "ok"}
  after = {tuple(r.cell.items()): r for r in own if r.status == "ok"}
  return [(before[cell], r) for cell, r in after.items() if cell in before]


def told(settings: dict) -> str:
  """Settings as words with commas."""
  return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in settings.items())


def run_on(records: Sequence[Record]) -> str:
  """How many rows there are, how long one took and on what, as a sentence."""
  known = [r.env for r in records if "seconds" in r.env]
  if not known:
    return ""
  minutes = statistics.median(env["seconds"] for env in known) / 60
  return (
    f"Rows: {len(known)}, {minutes:.1f} minutes in the median, on"
    f" {places(records)}."
  )


def places(records: Iterable[Record]) -> str:
  """On what the rows were made, as far as they tell."""
  return "; ".join(
    sorted({place(r.env) for r in records if "seconds" in r.env})
  )


def place(env: dict, workers: int = 1) -> str:
  """On what a row was made: "AMD EPYC, 2 workers, 1 thread each"."""
  threads = env.get("threads", 1)
  words = f"{threads} thread{'s' if threads != 1 else ''}"
  if workers > 1:
    words = f"{workers} workers, {words} each"
  return f"{env.get('hardware', 'unknown hardware')}, {words}"


def difference(first: dict, own: dict) -> str:
  """What tells `own` settings from the first ones."""
  changed = told({k: v for k, v in own.items() if v != first.get(k)})
  return f"with {changed or 'unknown settings'}"


def cell_of(path: Path) -> Cell | None:
  """(arch, init, seed) from ARCH__INIT__sSEED in a file's or folder's name."""
  for name in (path.stem, path.parent.name):
    if match := _CELL.fullmatch(name):
      return match[1], match[2], int(match[3])
  return None


def _gather(folder, pattern, read, complaints):
  """By cell; of the files of several widths that of 8 bits, or the first."""
  found = {}
  for path in sorted(folder.glob(pattern)):  # `layerwise.csv` before others
    cell = cell_of(path)
    if cell and cell not in found:
      try:
        found[cell] = read(path)
      except RunError as error:
        complaints.append(f"{error} and was left out")
  return found


def _identity(path, complaints):
  """The settings without cell axes, paths and versions."""
  try:
    return dict(json.loads(path.read_text())["identity"])
  except FileNotFoundError:
    return {}
  except (ValueError, KeyError, TypeError):
    complaints.append(f"{path} is damaged and was left out")
    return {}
