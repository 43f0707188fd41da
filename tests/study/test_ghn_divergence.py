"""Steps that are not finite, by hand."""

from qinit.study.ghn_divergence import BackOff


def states(steps):
  """Skipped, halvings and factor after each step: x is not finite."""
  back_off = BackOff()
  for step in steps:
    back_off.skip() if step == "x" else back_off.passed()
    yield back_off.skipped, back_off.times, back_off.factor


def test_three_in_a_row_halve_the_rate():
  assert list(states("xx.xxx")) == [
    (1, 0, 1),
    (2, 0, 1),
    (2, 0, 1),
    (3, 0, 1),
    (4, 0, 1),
    (5, 1, 0.5),
  ]
  *_, (skipped, times, factor) = states(15 * "x")
  assert (skipped, times, factor) == (15, 5, 1 / 32)


def test_a_training_has_diverged_after_four_halvings():
  back_off = BackOff()
  found = []
  for _ in range(15):
    back_off.skip()
    found.append(back_off.diverged)
  assert found == 14 * [False] + [True]
