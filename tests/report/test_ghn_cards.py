"""The evaluation in a hypernetwork's model card, from rows made by hand."""

from qinit.report import ghn_cards
from qinit.report.document import Paragraph
from tests.report.ghn_rows import clipped, row

ROWS = [
  row("control", "test", 0, "float", 70.0, images=10_000),
  row("control", "test", 1, "float", 74.0, images=10_000),
  row("control", "test", 0, "w4a4", 30.0),
  row("control", "test", 1, "w4a4", 36.0),
  row("control", "test", 2, "w4a4", 99.0),
  row("qat", "test", 0, "w4a4", 50.0),
  row("qat", "test", 1, "w4a4", 57.0),
  *clipped([row("qat", "test", 0, "w4a4", 52.0, images=1_024)]),
]


def test_a_row_has_the_control_on_the_same_networks():
  paragraph, table = ghn_cards.evaluation(ROWS, "qat")
  assert "its float control `control` on the same" in paragraph.text
  assert table.headers[-2:] == ("Control", "Difference")
  # 50, 57: 53.5, population deviation 3.5 over sqrt(2). 20, 21: 20.5 ± 0.5.
  assert table.rows == (
    (
      "Test (ID)",
      "W4/A4",
      "2",
      "512",
      "53.5 ± 2.5",
      "57.0",
      "33.0 ± 2.1",
      "+20.50 ± 0.50",
    ),
    (
      "Test (ID)",
      "W4/A4 (percentile)",
      "1",
      "1,024",
      "52.0",
      "52.0",
      "–",
      "–",
    ),
  )


def test_of_several_controls_the_one_of_its_own_kind_counts():
  rows = [
    row("ghn-control", "bn_free", 0, "w4a4", 20.0),
    row("bnfree-control", "bn_free", 0, "w4a4", 30.0),
    row("bnfree-w4a4", "bn_free", 0, "w4a4", 40.0),
    row("mine", "bn_free", 0, "w4a4", 50.0),
  ]
  for name, control in (("bnfree-w4a4", "30.0"), ("mine", "20.0")):
    _, table = ghn_cards.evaluation(rows, name)
    assert table.rows[0][-2].startswith(control)


def test_a_control_stands_alone():
  paragraph, table = ghn_cards.evaluation(ROWS, "control")
  assert "control" not in paragraph.text
  assert [row[:2] for row in table.rows] == [
    ("Test (ID)", "Float32"),
    ("Test (ID)", "W4/A4"),
  ]
  assert table.headers[-1] == "Best" and table.rows[0][-1] == "74.0"


def test_the_most_that_one_answer_reaches_is_said_where_it_is_known():
  def said(ghn):
    paragraph, _ = ghn_cards.evaluation(ROWS, ghn)
    assert isinstance(paragraph, Paragraph)
    return paragraph.text.partition(" reaches: ")[2]

  # A tenth of the test images are of each class.
  assert said("control") == "10.0 on 10,000."
  assert said("qat") == "11.6 on 1,024."


def test_a_hypernetwork_without_rows_has_no_evaluation():
  assert ghn_cards.evaluation(ROWS, "other") == []
