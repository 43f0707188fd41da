"""Learning curves of hypernetworks, by hand."""

import pytest

from qinit.study.ghn_curve import LearningCurve


def test_a_point_is_the_mean_of_its_part_of_the_training():
  curve = LearningCurve()
  for step in range(400):  # of 400: two a point
    curve.add(step, 400, loss=float(step), accuracy=100.0)
  points = curve.points(400, 400)
  assert len(points) == 200
  assert points[0] == (2, 0.5, 100.0)
  assert points[-1] == (400, 398.5, 100.0)


def test_skipped_steps_leave_no_point_and_the_last_ends_where_it_is():
  curve = LearningCurve()
  for step in (0, 1, 4):  # of 1,000: five a point
    curve.add(step, 1000, loss=3.0 * step, accuracy=10.0 * step)
  curve.add(10, 1000, loss=7.0, accuracy=20.0)
  first, last = curve.points(12, 1000)
  assert first == (5, pytest.approx(5.0), pytest.approx(50 / 3))
  assert last == (12, 7.0, 20.0)


def test_a_training_shorter_than_its_points():
  curve = LearningCurve()
  for step in range(3):
    curve.add(step, 3, loss=1.0 + step, accuracy=0.0)
  assert curve.points(3, 3) == [(1, 1.0, 0.0), (2, 2.0, 0.0), (3, 3.0, 0.0)]
