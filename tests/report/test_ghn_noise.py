"""The gap between noise and rounding, told from rows."""

from qinit.report import ghn_noise
from tests.report.ghn_rows import clipped, row

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
# The same kernels again in a row with another range, those of another split,
# and the control's, of which 2 bits empty all.
MORE = [
  *clipped([row("qat", "test", 0, "float", 40.0, layers=LAYERS)]),
  row("qat", "deep", 0, "float", 40.0, layers=LAYERS),
  row("control", "test", 0, "float", 40.0, layers=LAYERS[:2] + LAYERS[:1]),
  row("control", "test", 1, "float", 40.0, layers=LAYERS),
]


def test_what_rounding_makes_zero_by_hand():
  assert ghn_noise.mostly_zero(LAYERS, 2) == 2
  assert ghn_noise.mostly_zero(LAYERS, 4) == 1


def test_noise_is_set_beside_rounding_on_the_networks_that_have_both():
  (sentence,) = ghn_noise.answers(ROWS)
  assert sentence == (
    "qat at W2/A2, Test (ID), 2 networks: 21.0 % with noise, 10.5 % rounded."
  )


def test_emptied_kernels_are_counted_once_beside_the_controls():
  (sentence,) = ghn_noise.answers(ROWS + MORE)
  assert " Of 1 of the networks of Test (ID) the predicted" in sentence
  assert "0 in 2 of 3 kernels (as predicted, without BatchNorm" in sentence
  assert "and in 3 of 3 of control, which was trained in float." in sentence
  assert "not particular to training with noise" in sentence


def test_more_emptied_kernels_than_the_controls_are_left_to_speak():
  layers = [LAYERS[0], LAYERS[2], LAYERS[2]]
  control = row("control", "test", 0, "float", 40.0, layers=layers)
  (sentence,) = ghn_noise.answers([*ROWS, control])
  assert "and in 1 of 3 of control" in sentence
  assert "not particular" not in sentence


def test_without_noise_there_is_no_section():
  assert ghn_noise.section(ROWS[:4]) == []
  assert len(ghn_noise.section(ROWS)) == 2
