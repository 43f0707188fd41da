import re
from html.parser import HTMLParser

from qinit.report import document as doc
from qinit.report.html import to_html


class _Balance(HTMLParser):
  def __init__(self):
    super().__init__()
    self.open, self.tags = [], []

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    if tag not in ("meta", "img"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def _page():
  blocks = [
    doc.Heading("A & B"),
    doc.Paragraph("1 < 2"),
    doc.Bullets(("one",)),
    doc.Table(("Name", "N"), (("a", "1"), ("b", "2")), frozenset({1})),
    doc.Figure("plot", 'A "plot".', lambda: None),
  ]
  return to_html("Run <x>", blocks, {"plot": b"png"})


def test_tags_balance():
  parser = _Balance()
  parser.feed(_page())
  assert parser.open == []
  assert {"h1", "h2", "p", "li", "table", "img"} <= set(parser.tags)


def test_text_is_escaped():
  page = _page()
  assert "<h1>Run &lt;x&gt;</h1>" in page
  assert "<p>1 &lt; 2</p>" in page and "A &amp; B" in page
  assert 'alt="A &quot;plot&quot;."' in page


def test_nothing_is_loaded_from_outside():
  page = _page()
  assert re.findall(r'src="([^"]*)"', page) == ["data:image/png;base64,cG5n"]
  assert not re.search(r"https?:|<link|<script|@import|url\(", page)


def test_a_phone_is_told_its_width_and_tables_scroll():
  page = _page()
  assert 'name="viewport"' in page and '<div class="scroll"><table>' in page


def test_flagged_rows_and_numbers_are_marked():
  page = _page()
  assert '<tr class="flagged"><td>b</td><td class="number">2</td></tr>' in page
