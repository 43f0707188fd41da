import pytest

from qinit.errors import QinitError
from qinit.quant.scheme import Scheme, parse_bits


def test_reads_a_list_of_widths():
  assert parse_bits("float, w8a8,w4a2", 0.5) == [
    None,
    Scheme(8, 8, 0.5),
    Scheme(4, 2, 0.5),
  ]
  assert [s.name for s in parse_bits("w8a8,w4a2")] == ["w8a8", "w4a2"]


@pytest.mark.parametrize("text", ["", "w8", "8,8", "w8a8;w4a4", "W8A8x"])
def test_names_what_is_no_width(text):
  with pytest.raises(QinitError, match="is no width: write float or"):
    parse_bits(text)


@pytest.mark.parametrize("text", ["w1a8", "w8a9", "w16a16", "w0a0"])
def test_widths_go_from_two_to_eight(text):
  with pytest.raises(QinitError, match="need 2 to 8 bits, not"):
    parse_bits(text)


@pytest.mark.parametrize("percent", [-1, 50, float("nan")])
def test_a_percentile_leaves_something_in_the_middle(percent):
  with pytest.raises(QinitError, match="clip_percentile must be"):
    Scheme(8, 8, percent)
