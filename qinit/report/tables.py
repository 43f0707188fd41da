"""Rows of the initialisation study as the paper's table, and as summaries."""

import statistics
from collections.abc import Callable, Iterable

from qinit.archs.zoo import ARCHS
from qinit.record import Record
from qinit.report import grid
from qinit.report.document import MISSING, Table, number
from qinit.report.grid import Group
from qinit.stats.layerwise import KINDS, LayerRow, worst_layer

Layers = dict[tuple[str, str, int], list[LayerRow]]


def _mean(metric, digits):
  return lambda group: number(group.mean(metric), digits)


def _sd(metric):
  return lambda group: number(group.sd(metric), 2)


# The paper's six columns in its order (Table 1), then ours. Accuracies are in
# percent; a mean is over the seeds that trained.
COLUMNS: tuple[tuple[str, Callable[[Group], str]], ...] = (
  ("Network Architecture", lambda group: group.name),
  ("FP32 Accuracy", _mean("fp32_accuracy", 2)),
  ("QUINT8 Accuracy", _mean("quint8_accuracy", 2)),
  ("QMSE", _mean("qmse", 4)),
  ("QCE", _mean("qce", 4)),
  ("Percent Accuracy Decrease", _mean("accuracy_decrease", 2)),
  ("Bits", lambda group: group.bits),
  ("Seeds", lambda group: str(len(group.records))),
  ("FP32 SD", _sd("fp32_accuracy")),
  ("QUINT8 SD", _sd("quint8_accuracy")),
  ("LiteRT Accuracy", _mean("litert_accuracy", 2)),
  ("Equal Codes (%)", _mean("litert_equal_codes", 3)),
  ("Fake-quant Equal (%)", _mean("fake_quant_equal_codes", 1)),
  ("Reference Equal (%)", _mean("litert_ref_equal_codes", 1)),
  ("Minutes", lambda group: number(group.minutes, 1)),
  ("Status", lambda group: group.status),
)


def study_table(records: Iterable[Record]) -> Table:
  """The paper's table, a row per cell with seeds averaged. Rows that diverged
  stay and are flagged."""
  found = grid.groups(records)
  return Table(
    headers=tuple(title for title, _ in COLUMNS),
    rows=tuple(tuple(cell(g) for _, cell in COLUMNS) for g in found),
    flagged=frozenset(i for i, g in enumerate(found) if not g.trained),
  )


def summary_table(records: Iterable[Record]) -> Table:
  """A row per architecture at 8 bits: how many initialisers trained, which
  did best before and after quantisation, and what quantisation cost."""
  found = [g for g in grid.groups(records) if g.bits == grid.MAIN_BITS]
  archs = dict.fromkeys(g.arch for g in found)
  return Table(
    headers=(
      "Architecture",
      "Best in FP32",
      "Best in QUINT8",
      "Largest decrease",
      "Mean FP32",
      "Mean QUINT8",
      "Median decrease",
      "Trained",
      "Diverged",
    ),
    rows=tuple(
      _summary(arch, [g for g in found if g.arch == arch]) for arch in archs
    ),
    text_columns=4,
  )


def weakest_layer_table(runs: dict[str, dict[str, list[LayerRow]]]) -> Table:
  """A row per architecture and initialiser: the weights and the activations
  whose quantisation alone changes the output most, and the points of accuracy
  that it costs, which is where to look for what was lost.

  Args:
    runs: layerwise rows by initialiser, by architecture.
  """
  cells = (
    (arch, init, rows)
    for arch, inits in runs.items()
    for init, rows in inits.items()
  )
  return Table(
    headers=(
      "Network",
      "Weakest weights",
      "Weakest activations",
      "KL weights",
      "KL activations",
      "Points weights",
      "Points activations",
    ),
    rows=tuple(_weakest(*cell) for cell in cells),
    text_columns=3,
  )


def _summary(arch, members):
  trained = [g for g in members if g.trained]
  return (
    ARCHS[arch].row_name if arch in ARCHS else arch,
    _extreme(trained, "fp32_accuracy"),
    _extreme(trained, "quint8_accuracy"),
    _extreme(trained, "accuracy_decrease"),
    _over(statistics.fmean, trained, "fp32_accuracy"),
    _over(statistics.fmean, trained, "quint8_accuracy"),
    _over(statistics.median, trained, "accuracy_decrease"),
    str(len(trained)),
    str(sum(g.diverged for g in members)),
  )


def _extreme(members, metric):
  known = [g for g in members if g.mean(metric) is not None]
  if not known:
    return MISSING
  best = max(known, key=lambda g: g.mean(metric))
  return f"{grid.suffix(best.init)} ({best.mean(metric):.2f})"


def _over(average, members, metric):
  values = [g.mean(metric) for g in members]
  values = [v for v in values if v is not None]
  return number(average(values) if values else None, 2)


def _weakest(arch, init, rows):
  weight, activation = (worst_layer(rows, k) for k in KINDS)
  return (
    grid.row_name(arch, init),
    weight.name if weight else MISSING,
    activation.name if activation else MISSING,
    number(weight and weight.kl, 4),
    number(activation and activation.kl, 4),
    number(weight and weight.accuracy_loss, 2),
    number(activation and activation.accuracy_loss, 2),
  )
