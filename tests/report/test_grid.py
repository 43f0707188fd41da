import pytest

from qinit.report import grid


def test_row_names_are_the_papers():
  assert grid.row_name("dws_conv_bn", "he_uniform") == "DWS_Conv_With_BN_HeUni"
  assert grid.row_name("mbnetv2_no_bn", "mod_glorot_uni_med") == (
    "MbNetv2_Conv_No_BN_ModGlorotUni_Med"
  )
  assert grid.row_name("mine", "new") == "mine_new"


def test_seeds_are_averaged(make):
  (group,) = grid.groups(
    [
      make.row("dws_conv_bn", "he_uniform", seed, quint8_accuracy=accuracy)
      for seed, accuracy in enumerate((60.0, 63.0, 66.0))
    ]
  )
  assert group.mean("quint8_accuracy") == 63
  assert group.sd("quint8_accuracy") == 3
  assert group.mean("qmse") is None and group.sd("qmse") is None
  assert group.status == "ok"


def test_a_diverged_seed_is_counted_and_not_averaged(make):
  (group,) = grid.groups(
    [
      make.row("dws_conv_bn", "he_uniform", 0, fp32_accuracy=60.0),
      make.row("dws_conv_bn", "he_uniform", 1, "diverged", fp32_accuracy=10.0),
    ]
  )
  assert group.mean("fp32_accuracy") == 60
  assert group.status == "1 of 2 diverged" and not group.diverged


def test_a_lost_cell_shows_what_it_has(make):
  (group,) = grid.groups(
    [
      make.row(
        "dws_conv_bn",
        "he_uniform",
        0,
        "diverged",
        fp32_accuracy=10.0,
        qmse=float("nan"),
      ),
    ]
  )
  assert group.mean("fp32_accuracy") == 10 and group.mean("qmse") is None
  assert group.status == "diverged" and group.diverged


def test_both_kinds_of_loss_are_named(make):
  (group,) = grid.groups(
    [
      make.row("dws_conv_bn", "lsuv", seed, status)
      for seed, status in enumerate(("diverged", "failed", "ok"))
    ]
  )
  assert group.status == "1 of 3 diverged, 1 of 3 failed"


def test_the_later_row_of_a_cell_counts(make):
  (group,) = grid.groups(
    [
      make.row("dws_conv_bn", "lsuv", 0, "failed"),
      make.row("dws_conv_bn", "lsuv", 0, qmse=1.0),
    ]
  )
  assert group.status == "ok" and len(group.records) == 1


def test_order_is_that_of_the_name_tables(make):
  cells = [
    ("new", "he_uniform", "w8a8"),
    ("dws_conv_bn", "he_uniform", "w4a4"),
    ("dws_conv_bn", "he_uniform", "w8a8"),
    ("dws_conv_bn", "rand_uni_large", "w8a8"),
    ("regular_conv_bn", "lsuv", "w8a8"),
  ]
  found = grid.groups([make.row(a, i, bits=b) for a, i, b in cells])
  assert [(g.arch, g.init, g.bits) for g in found] == [
    cells[4],
    cells[3],
    cells[2],
    cells[1],
    cells[0],
  ]


@pytest.mark.parametrize("axis", ["arch", "init", "bits", "seed"])
def test_rows_of_another_grid_are_passed_over(make, axis):
  row = make.row("dws_conv_bn", "lsuv")
  del row.cell[axis]
  assert grid.groups([row]) == []
