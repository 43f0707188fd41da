"""What the report says of the trainings of hypernetworks."""

import dataclasses
from pathlib import Path

import pytest
import tensorflow as tf

from qinit import record
from qinit.quant import oscillation
from qinit.report import ghn, ghn_trainings
from qinit.report.document import to_markdown
from qinit.study.ghn_probe import EVERY
from tests.report.ghn_rows import TRAINING, row, study

ROWS = Path(__file__).parents[2] / "results" / "ghn_train"


def test_the_longest_training_stands_beside_the_papers():
  long = dataclasses.replace(
    TRAINING,
    metrics=TRAINING.metrics | {"steps": 12_000, "workers": 2},
    env={"hardware": "X", "threads": 1, "seconds": 5400.0},
  )
  text = ghn_trainings.beside_the_paper([TRAINING, long, TRAINING])
  # 100 epochs of 50,000 images, 32 a step; 5,400 s.
  assert "100 epochs, which are 156,250 steps at our batch size" in text
  assert "12,000 steps in 1.5 hours on X, 2 workers, 1 thread each." in text


def test_the_report_says_how_to_read_hardware_and_short_trainings():
  text = to_markdown(ghn.training(study(TRAINING)))
  assert "threads are those at the end of a training" in text
  assert "The trainings of less than a tenth of the longest's steps" in text


def test_one_turn_within_so_many_looks_is_enough_to_oscillate():
  zero = tf.zeros([1])
  state = oscillation.State(zero, zero, zero, zero, zero)
  for code in (1.0, 0.0):  # there and back
    state = oscillation.follow(state, tf.constant([code]))
  looks = 0
  while oscillation.rate(state.frequency) == 100:
    state = oscillation.follow(state, zero)
    looks += 1
  assert f"One such turn in the last {looks} looks" in ghn_trainings.OSCILLATION
  assert f"every {EVERY} steps" in ghn_trainings.OSCILLATION
  above = f"above {oscillation.OSCILLATING} the weight"
  assert above in ghn_trainings.OSCILLATION


def test_what_had_more_training_than_its_control_is_said():
  names = ("ghn-q-control", "ghn-qat-percentile-w2a2", "ghn-qat-w2a2")
  rows = [
    row(name, "test", n, "w2a2", 10.0 + n) for name in names for n in range(2)
  ]
  text = to_markdown(ghn.evaluation(study(*rows)))
  assert (
    "Some had more training than that: ghn-qat-percentile-w2a2 went on" in text
  )
  assert "bnfree-percentile-w4a4" not in text
  text = to_markdown(ghn.evaluation(study(*rows[:2], *rows[4:])))
  assert "in float for as many steps (a control)? On unseen" in text


@pytest.mark.skipif(not ROWS.is_dir(), reason="no rows are committed")
def test_the_committed_rows_tell_the_same_of_more_training():
  def cell(name):
    return record.read(ROWS / f"{name}.jsonl")[0][0].cell

  control, first = cell("ghn_q_control"), cell("ghn_qat_w2a2")
  more = cell("ghn_qat_percentile_w2a2")
  assert first["steps"] == control["steps"] == 2 * more["steps"]
  assert more["init_ghn"] == "ghn-qat-w2a2"
  narrow, control = cell("bnfree_percentile_w4a4"), cell("bnfree_control")
  assert narrow["steps"] == control["steps"]
  assert narrow["meta_batch"] == 4 * control["meta_batch"]
