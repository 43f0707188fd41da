"""Copies what a run found to the folder of published rows."""

import os
import shutil
from pathlib import Path

from qinit import files, record
from qinit.errors import RunError
from qinit.report.sources import SMALL_DATA


def publish(run: str | os.PathLike, results: str | os.PathLike) -> list[str]:
  """Copies a run's good rows and settings to `results`/KIND/NAME.jsonl and
  .json, NAME being the run folder's. The run with the most rows has its
  cells' `layerwise.csv` in `results`/KIND/layerwise/CELL.csv.

  Returns:
    A sentence about every damaged row, which was left out.

  Raises:
    RunError: if the folder has no rows, or rows that may not be published.
  """
  run = Path(run)
  rows, complaints = record.read(run / "records.jsonl")
  if not rows:
    raise RunError(f"{run} has no rows to publish")
  settings = record.read_identity(run / "config.json")
  if settings.get("dataset") in SMALL_DATA:
    name = settings["dataset"]
    raise RunError(f"rows from {name} are for quick looks, not for publishing")
  folder = Path(results) / rows[0].kind
  (folder / "layerwise").mkdir(parents=True, exist_ok=True)
  text = "".join(f"{row.to_json()}\n" for row in rows)
  files.write_text(folder / f"{run.resolve().name}.jsonl", text)
  shutil.copy(run / "config.json", folder / f"{run.resolve().name}.json")
  if len(rows) >= max(_row_counts(folder)):
    for csv in sorted(run.glob("cells/*/layerwise.csv")):
      shutil.copy(csv, folder / "layerwise" / f"{csv.parent.name}.csv")
  return complaints


def _row_counts(folder):
  return [len(record.read(path)[0]) for path in folder.glob("*.jsonl")]
