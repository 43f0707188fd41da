"""The section on quantisation-aware training, from rows made by hand."""

from qinit.record import Record
from qinit.report import qat
from qinit.report.document import Heading, Paragraph, Table
from qinit.report.sources import Study


def row(config, start, seed, quantised, status="ok"):
  cell = {
    "arch": "dws_conv_bn",
    "bits": "w4a4",
    "start": start,
    "method": "qat",
    "quantizer": "simquant",
    "seed": seed,
  }
  curve = [[0, 10.0], [100, quantised]]
  metrics = {"quint8_accuracy": quantised, "curve": curve}
  metrics = metrics if status == "ok" else {}
  return Record("qat", cell, config, metrics, status)


def test_other_settings_are_compared_over_the_cells_that_both_have():
  rows = (
    row("plain", "ghn_a", 0, 28.0),
    row("plain", "ghn_a", 1, 30.0),
    row("plain", "he_uniform", 0, 33.0),
    row("plain", "he_uniform", 1, 0.0, status="diverged"),
    row("other", "ghn_a", 1, 34.5),
    row("other", "ghn_a", 2, 90.0),
    row("other", "he_uniform", 1, 35.0),
  )
  settings = {
    "plain": {"epochs": 8, "symmetry": "none"},
    "other": {"epochs": 8, "symmetry": "orthogonal"},
  }
  blocks = qat.section(Study(rows, settings, {}, {}))
  headings = [block for block in blocks if isinstance(block, Heading)]
  assert [h.text for h in headings[1:]] == [
    "The study again, with symmetry orthogonal"
  ]
  below = blocks[blocks.index(headings[1]) :]
  changed = next(block for block in below if isinstance(block, Table))
  cell = "DWS_Conv_With_BN", "w4a4", "ghn_a", "qat", "simquant"
  assert changed.rows == ((*cell, "1", "30.00", "34.50"),)
  # Both studies answer whether a predicted start saves steps; one leads.
  answers = [
    block.headline
    for block in blocks
    if isinstance(block, Paragraph) and "save training" in block.text
  ]
  assert answers == [True, False]
