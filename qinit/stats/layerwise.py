"""`layerwise.csv`: one row per layer and kind of tensor."""

import csv
import dataclasses
import io
import math
import os
from collections.abc import Iterable
from pathlib import Path

from qinit.errors import RunError

KINDS = ("weight", "activation")


@dataclasses.dataclass(frozen=True)
class LayerRow:
  """How one tensor fared.

  Attributes:
    layer: position in the network, from 0, among the rows of its kind.
    name: the node's.
    kind: "weight" (BatchNorm folded) or "activation".
    range: hi - lo, over which the quantiser spreads its levels.
    min: lo, the lower end of that range, after clipping and with 0 inside.
    max: hi, its upper end.
    average_precision: mean of channel range / tensor range.
    kurtosis: Pearson's, of the values before quantisation.
    sqnr_db: signal-to-quantisation-noise ratio.
    clipped_share: share of values outside min..max, in 0..1.
    qmse: mean squared difference that quantisation made.
    kl: KL divergence of the network's output, in nats, when this tensor alone
      is quantised; NaN where that was not measured.
    accuracy_loss: points of accuracy lost when this tensor alone is quantised.
  """

  layer: int
  name: str
  kind: str
  range: float
  min: float
  max: float
  average_precision: float
  kurtosis: float
  sqnr_db: float
  clipped_share: float
  qmse: float
  kl: float = math.nan
  accuracy_loss: float = math.nan


COLUMNS = tuple(f.name for f in dataclasses.fields(LayerRow))
_NUMBERS = COLUMNS[3:]


def to_csv(rows: Iterable[LayerRow]) -> str:
  """A header and a line per row; nine digits, enough for float32."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(COLUMNS)
  for row in rows:
    numbers = (f"{getattr(row, name):.9g}" for name in _NUMBERS)
    writer.writerow([row.layer, row.name, row.kind, *numbers])
  return text.getvalue()


def from_csv(text: str) -> list[LayerRow]:
  """The inverse of `to_csv`; raises ValueError for anything else."""
  reader = csv.DictReader(io.StringIO(text))
  if tuple(reader.fieldnames or ()) != COLUMNS:
    raise ValueError("not the columns of layerwise.csv")
  return [_row(cells) for cells in reader]


def read_csv(path: str | os.PathLike) -> list[LayerRow]:
  """The rows of a `layerwise.csv`.

  Raises:
    RunError: if the file is damaged.
  """
  try:
    return from_csv(Path(path).read_text())
  except (ValueError, csv.Error) as error:
    raise RunError(f"{os.fspath(path)} is damaged ({error})") from None


def of_kind(rows: Iterable[LayerRow], kind: str) -> list[LayerRow]:
  """The rows of one kind in the order of the network."""
  return sorted((r for r in rows if r.kind == kind), key=lambda r: r.layer)


def worst_layer(rows: Iterable[LayerRow], kind: str) -> LayerRow | None:
  """The layer whose quantisation alone changes the output most (the largest
  `kl`); None where that was not measured."""
  known = [r for r in of_kind(rows, kind) if not math.isnan(r.kl)]
  return max(known, key=lambda r: r.kl, default=None)


def _row(cells):
  if None in cells or None in cells.values():
    raise ValueError("a line with too few or too many cells")
  if cells["kind"] not in KINDS:
    raise ValueError(f"unknown kind {cells['kind']!r}")
  numbers = {name: float(cells[name]) for name in _NUMBERS}
  return LayerRow(int(cells["layer"]), cells["name"], cells["kind"], **numbers)
