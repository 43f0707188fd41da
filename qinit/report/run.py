"""Everything that is made from rows: of a run folder, and RESULTS.md."""

import contextlib
import dataclasses
import os
from pathlib import Path

from qinit.errors import RunError
from qinit.files import write_text
from qinit.report import (
  figures,
  ghn_cards,
  ghn_tables,
  ghn_trainings,
  gnn_rows,
  grid,
  lpgnas,
  lpgnas_ghn,
  sources,
  style,
  tables,
)
from qinit.report.document import (
  Block,
  Figure,
  Heading,
  Paragraph,
  to_csv,
  to_markdown,
)
from qinit.report.html import to_html
from qinit.report.marked import BEGIN, excerpt, renewed
from qinit.report.sections import SECTIONS
from qinit.stats.distribution import read_distributions
from qinit.stats.layerwise import read_csv

_COMMAND = "python -m experiments.report --results=results"


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
  blocks = _sections(study)
  if not blocks:
    raise RunError(f"{folder} holds rows of no kind that has a report")
  write_results_csv(folder, study.records)
  pictures = _draw(blocks, folder / "figures")
  page = to_html(f"qinit: {folder.resolve().name}", blocks, pictures)
  write_text(folder / "report.html", page)
  for cell in sorted((folder / "cells").glob("*")):
    with contextlib.suppress(RunError):  # already among the complaints
      draw_cell(cell)
  return list(study.complaints)


def write_results_csv(folder: str | os.PathLike, records) -> None:
  """Writes `results.csv`: for the initialisation study the paper's six
  columns, then ours."""
  records = tuple(records)
  kinds = {record.kind for record in records}
  kind = kinds.pop() if len(kinds) == 1 else ""
  table = _TABLES.get(kind, tables.study_table)(records)
  write_text(Path(folder) / "results.csv", to_csv(table))


def draw_cell(folder: str | os.PathLike) -> None:
  """Draws what `layerwise*.csv` and `distributions*.npz` of one cell hold, a
  pair for each width, into its `figures`, unless the pictures are newer.

  Raises:
    RunError: if one of the two is damaged.
  """
  folder = Path(folder)
  if not (cell := sources.cell_of(folder)):
    return
  arch, init, seed = cell
  title = f"{grid.row_name(arch, init)}, seed {seed}"
  for stem, read, pictures in _CELL_FIGURES:
    for source in sorted(folder.glob(f"{stem}*")):
      suffix = source.stem.removeprefix(stem)
      bits = suffix.removeprefix("_") or grid.MAIN_BITS
      for name, draw in pictures.items():
        picture = folder / "figures" / f"{name}{suffix}.png"
        if _is_stale(picture, source):
          picture.parent.mkdir(exist_ok=True)
          style.save(draw(init, read(source), title, bits), picture)


# What `results.csv` is made with; the other kinds share a table.
_TABLES = {
  "ghn_eval": lambda rows: ghn_tables.accuracy_table(rows, "accuracy"),
  "ghn_train": ghn_trainings.table,
  "lpgnas": lambda rows: lpgnas.table(gnn_rows.groups(rows)),
  "lpgnas_ghn": lpgnas_ghn.table,
}

# Files of a cell, how to read one, and the figures made of its contents.
_CELL_FIGURES = (
  (
    "layerwise",
    read_csv,
    {
      "layers": lambda init, rows, title, _: figures.layerwise(
        {init: rows}, title
      ),
      "range_and_precision": lambda _, rows, title, bits: (
        figures.range_and_precision(rows, title)
      ),
    },
  ),
  (
    "distributions",
    read_distributions,
    {
      "distributions": lambda _, found, title, bits: figures.distributions(
        found, title, bits
      )
    },
  ),
)


def results(
  results_dir: str | os.PathLike,
  output: str | os.PathLike,
  readme: str | os.PathLike | None = None,
  cards: str | os.PathLike | None = None,
) -> list[str]:
  """Makes RESULTS.md, and its figures in `results_dir`/figures, from the
  committed rows; returns a sentence about everything left out. Pictures
  that no row makes any more are removed.

  Args:
    readme: a file whose part between marks is renewed too.
    cards: a folder NAME/MODEL_CARD.md of published hypernetworks, whose parts
      between marks are renewed too.

  Raises:
    RunError: if there are no rows, or no marks.
  """
  results_dir, output = Path(results_dir), Path(output)
  blocks, complaints = document(results_dir)
  drawn = _draw(blocks, results_dir / "figures")
  for picture in (results_dir / "figures").glob("*.png"):
    if picture.stem not in drawn:
      picture.unlink()
  output.parent.mkdir(parents=True, exist_ok=True)
  write_text(output, markdown(blocks, results_dir, output))
  if readme:
    write_text(readme, with_results(readme, blocks, results_dir))
  if cards:
    for card, text in cards_with_results(cards, results_dir).items():
      write_text(card, text)
  return complaints


def document(results_dir: str | os.PathLike) -> tuple[list[Block], list[str]]:
  """The blocks of RESULTS.md, a pure function of the committed files, and the
  complaints. Nothing is drawn."""
  blocks: list[Block] = []
  complaints: list[str] = []
  for kind, _ in SECTIONS:
    study = sources.from_results(Path(results_dir) / kind)
    complaints += study.complaints
    blocks += _sections(study)
  if not blocks:
    raise RunError(f"{results_dir} holds no rows: expected KIND/*.jsonl there")
  return [*_opening(), *blocks], complaints


def markdown(
  blocks: list[Block], results_dir: str | os.PathLike, output: str | os.PathLike
) -> str:
  """RESULTS.md as text, its pictures linked relative to `output`."""
  return to_markdown(blocks, _link(results_dir, output))


def with_results(
  path: str | os.PathLike, blocks: list[Block], results_dir: str | os.PathLike
) -> str:
  """The file with its results renewed; raises RunError without its marks."""
  text = Path(path).read_text()
  return renewed(text, excerpt(blocks), _link(results_dir, path))


def cards_with_results(
  folder: str | os.PathLike, results_dir: str | os.PathLike
) -> dict[Path, str]:
  """The model cards NAME/MODEL_CARD.md of `folder` that have marks, each with
  the evaluation of its hypernetwork renewed."""
  records = sources.from_results(Path(results_dir) / "ghn_eval").records
  texts = {
    card: card.read_text() for card in Path(folder).glob(f"*/{ghn_cards.NAME}")
  }
  return {
    card: renewed(text, ghn_cards.evaluation(records, card.parent.name))
    for card, text in texts.items()
    if BEGIN in text
  }


def _link(results_dir, file):
  """The folder of the pictures, seen from `file`."""
  pictures = Path(results_dir).resolve() / "figures"
  base = Path(file).resolve().parent
  return Path(os.path.relpath(pictures, base)).as_posix()


def _opening():
  yield Heading("Results", 1)
  yield Paragraph(
    f"Made from the committed rows by `{_COMMAND}`; not to be edited by hand."
  )


def _sections(study):
  blocks = []
  for kind, section in SECTIONS:
    records = tuple(r for r in study.records if r.kind == kind)
    if records:
      blocks += section(dataclasses.replace(study, records=records))
  return blocks


def _is_stale(picture, source):
  """True if there is no picture that is newer."""
  newest = source.stat().st_mtime_ns
  return not picture.exists() or picture.stat().st_mtime_ns < newest


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
