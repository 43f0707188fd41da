"""Tables of the evaluation of hypernetworks, from rows made by hand."""

import math

import numpy as np
import pytest

from qinit.data import cifar10
from qinit.report import ghn, ghn_cells, ghn_means, ghn_paper, ghn_tables
from qinit.report.marked import excerpt
from tests.cifar10 import folder
from tests.report.ghn_rows import ROWS, clipped, row, study


def test_accuracy_table_is_mean_error_and_maximum():
  table = ghn_tables.accuracy_table(ROWS, "accuracy")
  assert table.headers == ("Hypernetwork", "Width", "Test (ID)", "Deep")
  # Of 70 and 74: mean 72, population deviation 2, over sqrt(2).
  assert table.rows[0] == ("q", "Float32", "72.0 ± 1.4; 74.0", "–")
  assert table.rows[1] == ("q", "W4/A4", "33.0 ± 2.1; 36.0", "20.0; 20.0")


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_networks_rows_the_one_on_the_most_images_counts(order):
  rows = [
    row("q", "test", 0, "float", 50.0, images=10_000),
    row("q", "test", 0, "float", 60.0, images=1_024),
  ]
  (found,) = ghn_cells.by_cell(rows[::order]).values()
  assert found[0]["accuracy"] == 50


def test_paired_differences_count_networks_that_both_have():
  (found,) = ghn_tables.paired_table(ROWS).rows
  # 20 and 21: mean 20.5, sample deviation 0.7071, over sqrt(2): 0.5.
  assert found == (
    "qat − q",
    "Test (ID)",
    "W4/A4",
    "2",
    "+20.50 ± 0.50",
    "41.0",
  )


def test_with_a_control_others_are_compared_with_it_alone():
  rows = [
    row(name, "test", i, "w4a4", base + i)
    for name, base in (("a", 20.0), ("control", 30.0), ("b", 40.0))
    for i in range(2)
  ]
  found = [r[0] for r in ghn_tables.paired_table(rows).rows]
  assert found == ["a − control", "b − control"]
  rows += [row("b-control", "test", i, "w4a4", 35.0 + i) for i in range(2)]
  found = [r[0] for r in ghn_tables.paired_table(rows).rows]
  assert found[-1] == "b-control − control" and len(found) == 5


def test_own_width_table_sets_a_hypernetwork_beside_chance_float_and_control():
  rows = [
    row("control", "test", 0, "w4a4", 30.0),
    row("control", "test", 1, "w4a4", 36.0),
    row("qat-w4a4", "test", 0, "float", 60.0),
    row("qat-w4a4", "test", 1, "float", 64.0),
    row("qat-w4a4", "test", 0, "w4a4", 50.0, images=10_000),
    row("qat-w4a4", "test", 1, "w4a4", 57.0, images=10_000),
    row("qat-w4a4", "test", 0, "w8a8", 59.0),
    row("qat-w4a4", "deep", 0, "w4a4", 20.0),
  ]
  table = ghn_tables.own_width_table(rows)
  assert table.headers[-1] == "From control"
  # 40, 47: 43.5, deviation 4.95 over sqrt(2). -10, -7. 20, 21.
  assert table.rows == (
    (
      "qat-w4a4",
      "Test (ID)",
      "W4/A4",
      "2",
      "53.5 ± 2.5",
      "+43.50 ± 3.50 (12.4)",
      "-8.50 ± 1.50 (-5.7)",
      "+20.50 ± 0.50 (41.0)",
    ),
    ("qat-w4a4", "Deep", "W4/A4", "1", "20.0", "–", "–", "–"),
  )


def test_the_answer_is_over_the_networks_that_both_have():
  rows = [
    row("control", "test", 0, "w4a4", 30.0),
    row("control", "test", 1, "w4a4", 36.0),
    row("qat-w4a4", "test", 0, "w4a4", 50.0),
    row("qat-w4a4", "test", 1, "w4a4", 57.0),
    row("qat-w4a4", "test", 2, "w4a4", 90.0),
    row("qat-w4a4", "deep", 0, "w4a4", 20.0),
  ]
  table = ghn_tables.answer_table(rows)
  # Without the third network. Population deviations 3.5 and 3 over sqrt(2).
  assert table.rows == (
    (
      "qat-w4a4",
      "Test (ID)",
      "W4/A4",
      "2",
      "53.5 ± 2.5",
      "control",
      "33.0 ± 2.1",
      "+20.50 ± 0.50",
    ),
  )
  blocks = ghn.evaluation(study(*rows))
  question, found = excerpt(blocks)[-2:]
  assert question.text.startswith("Do hypernetworks trained through")
  assert found == table


@pytest.mark.parametrize(
  ("images", "expected"),
  [
    (10_000, "+2.00 ± 1.00 (2.0)"),
    (1_024, "+0.38 ± 1.00 (0.4)"),  # 119 are horses: 11.62 %
    (512, "–"),
  ],
)
def test_chance_is_what_one_answer_reaches_on_these_images(images, expected):
  rows = [
    row("qat-w2a2", "deep", n, "w2a2", accuracy, images=images)
    for n, accuracy in enumerate((11.0, 13.0))
  ]
  (found,) = ghn_tables.own_width_table(rows).rows
  assert found[5] == expected


def test_of_the_first_images_the_most_frequent_class_makes_as_many():
  _, labels = cifar10.load(folder(), "test")
  for images, percent in ghn_means.ONE_ANSWER.items():
    most = np.bincount(labels[:images]).max()
    assert 100 * most / images == pytest.approx(percent, abs=0.005)


def test_clipped_weights_are_named_and_compared_with_clipped_ones():
  rows = clipped(
    [
      row("control", "bn_free", 0, "w4a8", 20.0),
      row("control", "bn_free", 1, "w4a8", 20.0),
      row("free-w4a8", "bn_free", 0, "w4a8", 21.0),
      row("free-w4a8", "bn_free", 1, "w4a8", 24.0),
    ]
  )
  rows += [row("control", "bn_free", n, "w4a8", 99.0) for n in range(2)]
  (own,) = ghn_tables.own_width_table(rows).rows
  assert own[1:3] == ("BN-Free", "W4/A8 (percentile)")
  assert own[-1] == "+2.50 ± 1.50 (1.7)"
  (answer,) = ghn_tables.answer_table(rows).rows
  assert answer[1:] == (*own[1:5], "control", "20.0 ± 0.0", "+2.50 ± 1.50")
  (pair,) = ghn_tables.paired_table(rows).rows
  assert pair[2:5] == ("W4/A8 (percentile)", "2", "+2.50 ± 1.50")


def test_the_answer_goes_kind_by_kind_from_the_widest_on():
  names = ("a-w4a4", "b-w8a8", "a-control", "b-control", "a-w8a8")
  rows = [
    row(name, "test", n, bits, 50.0 + n)
    for name in names
    for bits in ("w8a8", "w4a4")
    for n in range(2)
  ]
  found = [r[0] for r in ghn_tables.answer_table(rows).rows]
  assert found == ["a-w8a8", "a-w4a4", "b-w8a8"]


def test_the_papers_table_5_stands_under_bn_free():
  for metric, accuracies in (
    ("accuracy", "50.2 ± 1.0; 60.9"),
    ("top5", "92.3 ± 0.6; 95.9"),
  ):
    assert ghn_paper.paper_table(metric).rows[-2] == (
      "GHN-QAT, BN-free (Table 5)",
      "W4/A8",
      "–",
      "–",
      "–",
      accuracies,
    )


@pytest.mark.parametrize(
  "metric, number, accuracies",
  [
    ("accuracy", 2, "47.4 ± 0.4; 63.9|39.0 ± 0.7; 62.9|43.8 ± 0.6; 63.3"),
    ("accuracy", 8, "26.3 ± 0.3; 37.4|23.1 ± 0.3; 34.0|24.6 ± 0.4; 35.6"),
    ("top5", 4, "52.4 ± 0.1; 63.8|50.9 ± 0.1; 56.6|52.7 ± 0.2; 69.6"),
    ("top5", 5, "97.4 ± 0.1; 99.0|96.4 ± 0.2; 98.8|97.1 ± 0.2; 98.8"),
  ],
)
def test_the_papers_tables_3_and_4(metric, number, accuracies):
  row = ghn_paper.paper_table(metric).rows[number]
  assert "|".join(row[2:5]) == accuracies
  assert len(row) == 6


def test_what_explodes_is_in_powers_of_ten_of_one_network_too():
  found = {0: {"qmse": 2.1e16}}
  assert ghn_means.mean_and_error(found, "qmse", 3) == "2.1e+16"
  found[1] = {"qmse": 4.1e16}
  assert ghn_means.mean_and_error(found, "qmse", 3) == "3.1e+16 ± 7.1e+15"


def test_without_a_control_there_is_no_answer():
  assert not ghn_tables.answer_table([row("w4a4", "test", 0, "w4a4", 1)]).rows


def test_standard_error():
  assert ghn_means.standard_error([1.0, 3.0]) == pytest.approx(1 / math.sqrt(2))


@pytest.mark.parametrize(
  "bits, name",
  [
    ("float", "Float32"),
    ("w4a8", "W4/A8"),
    ("w2a2_noise", "W2/A2 noise"),
    ("mixed", "Mixed"),
  ],
)
def test_width_names(bits, name):
  assert ghn_cells.width_name(bits) == name


def test_rows_added_later_stand_in_their_order():
  added = ["w4a4", "float", "mixed", "w2a2_noise", "w3a3", "w2a2", "w4a8"]
  rows = [row("q", "deep", 0, bits, 1.0) for bits in added]
  rows += [row("r", "test", 0, "float", 1.0), row("q", "test", 0, "float", 1.0)]
  table = ghn_tables.accuracy_table(rows, "accuracy")
  assert [line[:2] for line in table.rows] == [
    ("q", "Float32"),
    ("q", "W4/A8"),
    ("q", "W4/A4"),
    ("q", "W3/A3"),
    ("q", "W2/A2"),
    ("q", "W2/A2 noise"),
    ("q", "Mixed"),
    ("r", "Float32"),
  ]


def test_exploded_logits_do_not_fill_the_table():
  rows = [row("q", "test", n, "w2a2", 10.0) for n in range(2)]
  rows[0].metrics["qmse"], rows[1].metrics["qmse"] = 4.0e10, 2.0e10
  (line,) = ghn_tables.change_table(rows).rows
  assert line[5] == "3.0e+10 ± 7.1e+09; 3.0e+10"
  assert line[6] == "1.000 ± 0.000; 1.000"


def test_the_median_tells_of_the_other_networks():
  rows = [
    row("q", "test", n, "w2a2", 10.0, qmse=qmse)
    for n, qmse in enumerate((1.0, 3.0, 5.0, 9e18))
  ]
  (line,) = ghn_tables.change_table(rows).rows
  # 9e18 / 4; deviation 9e18 sqrt(3) / 4, over 2.
  assert line[5] == "2.2e+18 ± 1.9e+18; 4.000"
