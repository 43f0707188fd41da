import pytest

from qinit.params.initializers import PAPER_INITIALIZERS
from qinit.report.claims import NOT_REPRODUCED, NOT_TESTABLE, REPRODUCED
from qinit.report.evidence import Evidence
from qinit.report.findings import FINDINGS, findings_table

OTHERS = ("glorot_uniform", "glorot_normal", "rand_uni_small", "rand_norm_med")


def judge(number, records, layers=None):
  return FINDINGS[number - 1].judge(Evidence(records, layers))


def cells(make, arch, **losses):
  """Rows of 50 % FP32 accuracy that lose the given percents."""
  return [
    make.trained(arch, init, 50.0, 50.0 * (1 - loss / 100))
    for init, loss in losses.items()
  ]


def others(make, arch, loss):
  return cells(make, arch, **dict.fromkeys(OTHERS, loss))


def test_there_are_eleven():
  assert len(FINDINGS) == 11
  assert len({finding.statement for finding in FINDINGS}) == 11
  assert len(PAPER_INITIALIZERS) == 12


def test_without_rows_nothing_is_testable():
  table = findings_table(Evidence([]))
  assert {row[2] for row in table.rows} == {NOT_TESTABLE}
  assert all(row[3].startswith("missing: ") for row in table.rows)
  assert [row[0] for row in table.rows] == [str(n) for n in range(1, 12)]


IMPROVED = [
  (1, "dws_conv_bn", "rand_uni_large"),
  (2, "mbnetv2_bn", "rand_uni_med"),
]


@pytest.mark.parametrize("number, arch, init", IMPROVED)
@pytest.mark.parametrize(
  "mine, median, verdict",
  [
    (1.0, 4.0, REPRODUCED),
    (3.5, 4.0, NOT_REPRODUCED),
    (9.0, 4.0, NOT_REPRODUCED),
    (9.0, 0.5, NOT_REPRODUCED),
    (0.1, 0.5, NOT_TESTABLE),
    (-3.0, 0.5, REPRODUCED),
  ],
)
def test_improved(make, number, arch, init, mine, median, verdict):
  rows = cells(make, arch, **{init: mine}) + others(make, arch, median)
  found = judge(number, rows)
  assert found.verdict == verdict
  assert f"loses {mine:.2f} %" in found.numbers
  assert f"the median of the others {median:.2f} %" in found.numbers


STARK = [
  (3, "dws_conv_bn", ("he_normal", "he_uniform")),
  (4, "regular_conv_bn", ("mod_glorot_uni_med",)),
  (5, "basic_residual_bn", ("rand_uni_large",)),
]


@pytest.mark.parametrize("number, arch, inits", STARK)
def test_stark_drop(make, number, arch, inits):
  rest = others(make, arch, 1.0)
  deep = cells(make, arch, **dict.fromkeys(inits, 8.0))
  shallow = cells(make, arch, **{inits[-1]: 1.5})
  assert judge(number, deep + rest).verdict == REPRODUCED
  assert judge(number, deep[:-1] + shallow + rest).verdict == NOT_REPRODUCED


def test_missing_cells_are_named(make):
  rest = others(make, "regular_conv_bn", 1.0)
  lost = make.row("regular_conv_bn", "mod_glorot_uni_med", status="diverged")
  name = "Regular_Conv_With_BN_ModGlorotUni_Med"
  assert judge(4, rest).numbers == f"missing: {name} has not been run"
  assert judge(4, [lost, *rest]).numbers == f"missing: {name} diverged"
  one = cells(make, "regular_conv_bn", mod_glorot_uni_med=3.0)
  assert judge(4, one + rest[:3]).numbers == (
    "missing: 3 other initialisers of regular_conv_bn trained, 4 are needed"
  )


def test_initialisers_beyond_the_paper_do_not_count(make):
  rows = cells(
    make,
    "regular_conv_bn",
    mod_glorot_uni_med=3.0,
    lsuv=1.0,
    orthogonal=1.0,
    lecun_normal=1.0,
    delta_orthogonal=1.0,
  )
  assert judge(4, rows).verdict == NOT_TESTABLE


@pytest.mark.parametrize(
  "dws, verdict", [(9.0, REPRODUCED), (0.5, NOT_REPRODUCED)]
)
def test_batch_norm_and_depthwise(make, dws, verdict):
  rows = (
    others(make, "regular_conv_bn", 2.0)
    + others(make, "regular_conv_no_bn", 1.0)
    + others(make, "dws_conv_bn", dws)
    + others(make, "dws_conv_no_bn", dws / 2)
  )
  found = judge(6, rows)
  assert found.verdict == verdict
  assert "larger in 8 of 8 pairs" in found.numbers
  assert "over 8 matched cells" in found.numbers


@pytest.mark.parametrize(
  "glorot, verdict", [(69.6, REPRODUCED), (69.4, NOT_REPRODUCED)]
)
def test_glorot_uniform_is_best(make, glorot, verdict):
  scores = dict.fromkeys(PAPER_INITIALIZERS[:6], 70.0) | {
    "glorot_uniform": glorot
  }
  rows = [make.trained("dws_conv_bn", i, s, s) for i, s in scores.items()]
  found = judge(7, rows)
  assert found.verdict == verdict
  assert found.numbers.endswith(f"dws_conv_bn {70 - glorot:.2f}")


@pytest.mark.parametrize(
  "sign, verdict", [(1, REPRODUCED), (-1, NOT_REPRODUCED)]
)
def test_ranges_track_the_loss(make, sign, verdict):
  losses = {init: 1.0 + i for i, init in enumerate(PAPER_INITIALIZERS[:5])}
  rows = cells(make, "dws_conv_bn", **losses)
  layers = {
    ("dws_conv_bn", init, 0): [
      make.layer(0, "a", "weight", loss**sign, 0.9 - sign * loss / 10),
      make.layer(0, "a", "activation", loss**sign, 0.5),
    ]
    for init, loss in losses.items()
  }
  found = judge(8, rows, layers)
  assert found.verdict == verdict
  assert f"activation range {sign:+.2f}" in found.numbers
  assert f"precision {-sign:+.2f}" in found.numbers
  assert "has no layerwise rows" in judge(8, rows).numbers


def test_early_layers_are_the_first_third(make):
  rows = [make.layer(i, f"l{i}", "weight", 10.0**i, 0.1 * i) for i in range(6)]
  rows.append(make.layer(0, "a", "activation", 100.0, 0.5))
  evidence = Evidence([], {("dws_conv_bn", "lsuv", 0): rows})
  assert evidence.layer_means("dws_conv_bn", "lsuv") == pytest.approx(
    (2.0, 0.5, 0.05)
  )


@pytest.mark.parametrize(
  "drop, verdict", [(0.3, REPRODUCED), (-0.3, NOT_REPRODUCED)]
)
def test_spikes_are_drops(make, drop, verdict):
  spikes = [0, 1, 0, 2, 0, 3]
  layers = {
    ("mbnetv2_bn", "he_uniform", 0): [
      make.layer(i, f"l{i}", kind, 10.0**spike, 0.5 - drop * spike / 3)
      for kind in ("weight", "activation")
      for i, spike in enumerate(spikes)
    ]
  }
  found = judge(9, [], layers)
  assert found.verdict == verdict
  sign = "-" if drop > 0 else "+"
  assert f"weights {sign}1.00, activations {sign}1.00" in found.numbers


def test_errors_do_not_order_losses(make):
  rows = [
    make.trained("dws_conv_bn", "he_uniform", 50.0, 49.0, qmse=0.9, qce=1.0),
    make.trained("dws_conv_bn", "he_normal", 50.0, 45.0, qmse=0.2, qce=1.1),
    make.trained("mbnetv2_bn", "he_normal", 50.0, 40.0, qmse=0.1, qce=0.1),
  ]
  found = judge(10, rows)
  assert found.verdict == REPRODUCED
  assert found.numbers == (
    "of 1 pairs within an architecture the one with more QMSE loses less in"
    " 1, with more QCE in 0"
  )
  assert judge(10, rows[1:]).verdict == NOT_TESTABLE


@pytest.mark.parametrize(
  "lost, verdict", [(2, REPRODUCED), (1, NOT_REPRODUCED)]
)
def test_batch_norm_prevents_divergence(make, lost, verdict):
  rows = others(make, "dws_conv_bn", 1.0)
  rows += [
    make.row("dws_conv_no_bn", init, status="diverged")
    for init in OTHERS[:lost]
  ]
  rows += others(make, "dws_conv_no_bn", 1.0)[lost:]
  found = judge(11, rows)
  assert found.verdict == verdict
  assert found.numbers == (
    f"of 4 matched cells {lost} diverge or stay at chance without BN and 0"
    " with it"
  )
