"""Everything that is made from rows: of a run folder, and RESULTS.md."""

import os
from pathlib import Path

from qinit.errors import RunError
from qinit.record import write_text
from qinit.report import figures, grid, sources, style, tables
from qinit.report.document import (
  Block,
  Figure,
  Heading,
  Paragraph,
  to_csv,
  to_markdown,
)
from qinit.report.html import to_html
from qinit.report.sections import SECTIONS, init_study
from qinit.stats.distribution import read_distributions
from qinit.stats.layerwise import read_csv

_COMMAND = "python -m experiments.report --results=results --output=RESULTS.md"


def rebuild(folder: str | os.PathLike) -> list[str]:
  """Makes `results.csv`, `figures/*.png`, `report.html` and the figures of
  every cell of a run folder from its rows.

  Returns:
    A sentence about every damaged row or file, which was left out.

  Raises:
    RunError: if there is nothing to report.
  """
  folder = Path(folder)
  study = sources.from_run(folder)
  write_results_csv(folder, study.records)
  blocks = init_study(study)
  pictures = _draw(blocks, folder / "figures")
  page = to_html(f"qinit: {folder.resolve().name}", blocks, pictures)
  write_text(folder / "report.html", page)
  damaged = " ".join(study.complaints)
  for cell in sorted((folder / "cells").glob("*")):
    if str(cell) + os.sep not in damaged:
      draw_cell(cell)
  return list(study.complaints)


def write_results_csv(folder: str | os.PathLike, records) -> None:
  """Writes `results.csv`: the paper's six columns, then ours."""
  table = tables.study_table(records)
  write_text(Path(folder) / "results.csv", to_csv(table))


def draw_cell(folder: str | os.PathLike) -> None:
  """Draws what `layerwise.csv` and `distributions.npz` of one cell hold into
  its `figures`.

  Raises:
    RunError: if one of the two is damaged.
  """
  folder = Path(folder)
  cell = sources.cell_of(folder)
  if cell is None:
    return
  arch, init, seed = cell
  title = f"{grid.row_name(arch, init)}, seed {seed}"
  drawn = {}
  if (path := folder / "layerwise.csv").exists():
    rows = read_csv(path)
    drawn["layers"] = figures.layerwise({init: rows}, title)
    drawn["range_and_precision"] = figures.range_and_precision(rows, title)
  if (path := folder / "distributions.npz").exists():
    found = read_distributions(path)
    drawn["distributions"] = figures.distributions(found, title)
  for name, figure in drawn.items():
    (folder / "figures").mkdir(exist_ok=True)
    style.save(figure, folder / "figures" / f"{name}.png")


def results(
  results_dir: str | os.PathLike, output: str | os.PathLike
) -> list[str]:
  """Makes RESULTS.md, and its figures in `results_dir`/figures, from the
  committed rows; returns a sentence about everything left out.

  Raises:
    RunError: if there are no rows.
  """
  results_dir, output = Path(results_dir), Path(output)
  blocks, complaints = document(results_dir)
  _draw(blocks, results_dir / "figures")
  output.parent.mkdir(parents=True, exist_ok=True)
  write_text(output, markdown(blocks, results_dir, output))
  return complaints


def document(results_dir: str | os.PathLike) -> tuple[list[Block], list[str]]:
  """The blocks of RESULTS.md, a pure function of the committed files, and the
  complaints. Nothing is drawn."""
  blocks, complaints = [], []
  for kind, section in SECTIONS:
    study = sources.from_results(Path(results_dir) / kind)
    complaints += study.complaints
    if study.records:
      blocks += section(study)
  if not blocks:
    raise RunError(f"{results_dir} holds no rows: expected KIND/*.jsonl there")
  return [*_opening(), *blocks], complaints


def markdown(
  blocks: list[Block], results_dir: str | os.PathLike, output: str | os.PathLike
) -> str:
  """RESULTS.md as text, its pictures linked relative to `output`."""
  base = Path(output).resolve().parent
  pictures = Path(results_dir).resolve() / "figures"
  return to_markdown(blocks, Path(os.path.relpath(pictures, base)).as_posix())


def _opening():
  yield Heading("Results", 1)
  yield Paragraph(
    f"Made from the committed rows by `{_COMMAND}`; not to be edited by hand."
  )


def _draw(blocks, folder):
  """Saves every figure; returns the PNG bytes by name."""
  folder.mkdir(parents=True, exist_ok=True)
  pictures = {}
  for block in blocks:
    if isinstance(block, Figure):
      path = folder / f"{block.name}.png"
      style.save(block.draw(), path)
      pictures[block.name] = path.read_bytes()
  return pictures
