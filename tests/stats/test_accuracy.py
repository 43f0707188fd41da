import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qinit.stats import accuracy

LOGITS = hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e3, 1e3))


def test_accuracy_in_percent():
  logits = [[1, 2], [3, 0], [5, 5], [0, 1]]
  assert accuracy.accuracy(logits, [1, 0, 0, 0]) == 75


def test_decrease_reproduces_a_published_number():
  # MobileNet-V1 in Yun & Wong, 2021: 71.04 -> 3.00 is a 95.78 % decrease.
  assert accuracy.accuracy_decrease(71.04, 3.0) == pytest.approx(
    95.777, abs=1e-3
  )
  assert accuracy.accuracy_decrease(50, 55) == -10
  assert math.isnan(accuracy.accuracy_decrease(0, 10))


def test_qmse_by_hand():
  assert accuracy.qmse([[1, 2], [3, 4]], [[1, 4], [3, 3]]) == 1.25


def test_qce_by_hand():
  # p = (1/2, 1/2), q = (3/4, 1/4).
  found = accuracy.qce([[0, 0]], [[math.log(3), 0]])
  assert found == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2)


def test_kl_by_hand():
  # KL((1/2, 1/2) || (3/4, 1/4)) = log(4/3) / 2.
  found = accuracy.kl([[0, 0]], [[math.log(3), 0]])
  assert found == pytest.approx(math.log(4 / 3) / 2)


def test_large_logits_do_not_overflow():
  assert accuracy.qce([[1e4, 0]], [[0, 1e4]]) == pytest.approx(1e4)
  assert accuracy.kl([[1e4, 0]], [[1e4, 0]]) == 0


@given(LOGITS, LOGITS)
def test_qce_is_kl_plus_entropy(z, zq):
  entropy = accuracy.qce(z, z)
  total = accuracy.kl(z, zq) + entropy
  assert accuracy.kl(z, zq) >= -1e-9
  assert accuracy.qce(z, zq) == pytest.approx(total, abs=1e-9, rel=1e-9)


@given(LOGITS, LOGITS, st.floats(-100, 100))
def test_a_shift_of_all_logits_changes_qmse_alone(z, zq, shift):
  assert accuracy.qce(z, zq + shift) == pytest.approx(
    accuracy.qce(z, zq), abs=1e-6, rel=1e-6
  )
  assert accuracy.qmse(z, z + shift) == pytest.approx(shift**2, abs=1e-6)
