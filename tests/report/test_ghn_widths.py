"""One hypernetwork for all widths, from rows made by hand."""

from qinit.report import ghn, ghn_widths
from qinit.report.document import to_markdown
from qinit.report.sources import Study
from tests.report.ghn_rows import row

ROWS = [
  row("control", "test", 0, "w4a4", 30.0),
  row("control", "test", 1, "w4a4", 30.0),
  row("qat-w4a4", "test", 0, "w4a4", 40.0),
  row("qat-w4a4", "test", 1, "w4a4", 44.0),
  row("qat-w4a4", "test", 2, "w4a4", 99.0),
  row("qat-w4a4", "test", 0, "w8a8", 50.0),
  row("qat-all", "test", 0, "w4a4", 41.0),
  row("qat-all", "test", 1, "w4a4", 42.0),
  row("qat-all", "test", 0, "mixed", 45.0),
]


def test_it_stands_beside_the_one_of_each_width_on_the_networks_of_both():
  table = ghn_widths.table(ROWS)
  assert table.headers[-2:] == ("From it", "From control")
  # 41 and 42 beside 40 and 44: +1, -2; beside 30: +11, +12.
  narrow, mixed = table.rows
  assert narrow == (
    "qat-all",
    "Test (ID)",
    "W4/A4",
    "2",
    "41.5 ± 0.4",
    "42.0",
    "-0.50 ± 1.50 (-0.3)",
    "+11.50 ± 0.50 (23.0)",
  )
  assert mixed[2:] == ("Mixed", "1", "45.0", "–", "–", "–")


def test_the_report_has_the_section_where_there_is_one():
  text = to_markdown(ghn.evaluation(Study(tuple(ROWS), {}, {}, {}, ())))
  assert "### One hypernetwork for all widths" in text
  assert "may be what more training gives" in text
  assert ghn_widths.section(ROWS[:-3]) == []
