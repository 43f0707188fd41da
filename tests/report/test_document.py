import math

from qinit.report import document as doc


def test_numbers():
  assert doc.number(1.005, 1) == "1.0"
  assert doc.number(None, 2) == doc.number(math.nan, 2) == "–"
  assert doc.number(math.inf, 1) == "inf"


def test_markdown_of_every_block():
  def never():
    raise AssertionError("text needs no drawing")

  blocks = [
    doc.Heading("Title", 1),
    doc.Paragraph("Words."),
    doc.Bullets(("one", "two")),
    doc.Table(("Name", "N"), (("a|b", "1"), ("c", "2")), frozenset({1})),
    doc.Figure("plot", "A plot.", never),
  ]
  assert doc.to_markdown(blocks, "pics") == (
    "# Title\n\nWords.\n\n- one\n- two\n\n"
    "| Name | N |\n| --- | ---: |\n| a\\|b | 1 |\n| *c* | *2* |\n\n"
    "![A plot.](pics/plot.png)\n\nA plot.\n"
  )


def test_notebooks_show_tables_as_markdown():
  table = doc.Table(("Name", "N"), (("a", "1"),))
  assert table._repr_markdown_() == "| Name | N |\n| --- | ---: |\n| a | 1 |\n"


def test_csv_leaves_what_is_missing_empty():
  table = doc.Table(("a", "b"), (("x, y", doc.MISSING),))
  assert doc.to_csv(table) == 'a,b\n"x, y",\n'
