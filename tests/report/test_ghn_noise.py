"""The gap between noise and rounding, told from rows."""

from qinit.report import ghn_noise
from tests.report.ghn_rows import row

# Range [-1.5, 1.5]: a step of 1 at 2 bits, of 0.2 at 4. Quartiles of the first
# within half of either, of the second within half of the first alone, of the
# third beyond both.
LAYERS = [
  ["a/kernel", -1.5, -1, -0.05, 0, 0.05, 1, 1.5],
  ["b/kernel", -1.5, -1, -0.3, 0, 0.3, 1, 1.5],
  ["c/kernel", -1.5, -1, -0.7, 0, 0.7, 1, 1.5],
]
ROWS = [
  row("qat", "test", 0, "float", 40.0, layers=LAYERS),
  row("qat", "test", 0, "w2a2", 10.0),
  row("qat", "test", 1, "w2a2", 11.0),
  row("qat", "test", 2, "w2a2", 90.0),
  row("qat", "test", 0, "w2a2_noise", 20.0),
  row("qat", "test", 1, "w2a2_noise", 22.0),
]


def test_what_rounding_makes_zero_by_hand():
  assert ghn_noise.mostly_zero(LAYERS, 2) == 2
  assert ghn_noise.mostly_zero(LAYERS, 4) == 1


def test_noise_is_set_beside_rounding_on_the_networks_that_have_both():
  (sentence,) = ghn_noise.answers(ROWS)
  assert sentence == (
    "qat at W2/A2, Test (ID), 2 networks: 21.0 % with noise, 10.5 % rounded;"
    " rounding would make at least half of the weights 0 in 2 of the 3"
    " predicted kernels whose distributions are kept, which noise leaves as"
    " they are in the mean."
  )


def test_without_noise_there_is_no_section():
  assert ghn_noise.section(ROWS[:4]) == []
  assert len(ghn_noise.section(ROWS)) == 2
