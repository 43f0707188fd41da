"""Who is better than chance at two bits, from rows made by hand."""

from qinit.report import ghn_goal
from tests.report.ghn_rows import clipped, row

NAMES = ("ghn-qat-w2a2", "ghn-qat-percentile-w2a2")


def two(name, split, bits, *accuracies):
  return [
    row(name, split, n, bits, accuracy, images=10_000)
    for n, accuracy in enumerate(accuracies)
  ]


# Two networks: the standard error is half their difference.
MISSED = two(NAMES[0], "test", "w2a2", 10.5, 11.0)  # 0.75 ± 0.25
MET = clipped(two(NAMES[1], "test", "w2a2", 10.8, 11.2))  # 1.0 ± 0.2
OTHERS = [
  *two("ghn-q-control", "test", "w2a2", 20.0, 20.1),
  *two(NAMES[0], "deep", "w2a2", 20.0, 20.1),
  *two(NAMES[0], "test", "w2a2_noise", 20.0, 20.1),
]


def test_more_than_three_standard_errors_above_chance_are_asked_for():
  assert ghn_goal.sentences([*MISSED, *MET, *OTHERS]) == (
    "The goal at W2/A2 is a mean above chance by more than 3 standard errors,"
    " on Test (ID). In points above chance, and in brackets standard errors,"
    " missed: ghn-qat-w2a2 +0.75 ± 0.25 (3.0); met: ghn-qat-percentile-w2a2"
    " (percentile) +1.00 ± 0.20 (5.0). ghn-qat-w2a2, trained by NoiseQuant as"
    " specified, misses it; only ghn-qat-percentile-w2a2, which went on from it"
    " with percentile clipping, meets it."
  )


def test_it_says_only_where_that_is_so():
  other = two("ghn-qat-all", "test", "w2a2", 10.8, 11.2)
  assert "only" not in ghn_goal.sentences([*MISSED, *MET, *other])
  text = ghn_goal.sentences(MISSED)
  assert text.endswith("(3.0); met: by none.")


def test_without_two_bits_nothing_is_said():
  assert ghn_goal.sentences(OTHERS) == ""
