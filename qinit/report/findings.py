"""The paper's eleven qualitative findings (Section 3.2), each with a test
whose rule was fixed before any result was seen."""

import dataclasses
from collections.abc import Callable

from qinit.report import claims
from qinit.report.claims import Verdict
from qinit.report.document import Table
from qinit.report.evidence import Evidence, Missing


@dataclasses.dataclass(frozen=True)
class Finding:
  """What the paper states, the rule that tests it here, and the test."""

  statement: str
  rule: str
  test: Callable[[Evidence], Verdict]

  def judge(self, evidence: Evidence) -> Verdict:
    try:
      return self.test(evidence)
    except Missing as missing:
      return Verdict(claims.NOT_TESTABLE, f"missing: {missing}")


def findings_table(evidence: Evidence) -> Table:
  """A row per finding: statement, verdict, numbers and rule."""
  rows = []
  for i, finding in enumerate(FINDINGS, 1):
    verdict = finding.judge(evidence)
    rows.append(
      (
        str(i),
        finding.statement,
        verdict.verdict,
        verdict.numbers,
        finding.rule,
      )
    )
  headers = ("No.", "The paper finds", "Here", "Numbers", "Rule")
  return Table(headers, tuple(rows), text_columns=len(headers))


_MARKED_RULE = (
  "its percent accuracy decrease is at least 1 point below the median of the"
  " other initialisers; not testable where they lose less than 1 % and it lies"
  " within a point of them"
)
_STARK_RULE = (
  "its percent accuracy decrease is at least 1 point above the median of the"
  " other initialisers"
)

FINDINGS = (
  Finding(
    "DWS_Conv_With_BN quantises markedly better with RandUni_Large",
    _MARKED_RULE,
    claims.improved("dws_conv_bn", "rand_uni_large"),
  ),
  Finding(
    "MbNetv2_Conv_With_BN quantises markedly better with RandUni_Med",
    _MARKED_RULE,
    claims.improved("mbnetv2_bn", "rand_uni_med"),
  ),
  Finding(
    "DWS_Conv_With_BN drops starkly with HeNorm and HeUni",
    _STARK_RULE + ", for both",
    claims.stark_drop("dws_conv_bn", "he_normal", "he_uniform"),
  ),
  Finding(
    "Regular_Conv_With_BN drops starkly with ModGlorotUni_Med",
    _STARK_RULE,
    claims.stark_drop("regular_conv_bn", "mod_glorot_uni_med"),
  ),
  Finding(
    "Basic_Residual_With_BN drops starkly with RandUni_Large",
    _STARK_RULE,
    claims.stark_drop("basic_residual_bn", "rand_uni_large"),
  ),
  Finding(
    "BatchNorm usually worsens quantised accuracy, and DWS networks have a"
    " lower one on average than regular ones",
    "the decrease is larger with BN in more than half of the pairs, and the"
    " mean QUINT8 accuracy of DWS is lower over matched cells",
    claims.batch_norm_and_depthwise_cost,
  ),
  Finding(
    "GlorotUni is best in FP32",
    "within 0.5 points of the best initialiser in more than half of the"
    " architectures",
    claims.glorot_uniform_is_best,
  ),
  Finding(
    "Better quantisers have lower activation ranges; worse ones higher weight"
    " ranges and worse average precision in the early layers",
    "over the initialisers of an architecture the rank correlations with the"
    " decrease are at least 0.3, 0.3 and at most -0.3 (early: first third)",
    claims.ranges_track_the_loss,
  ),
  Finding(
    "Spikes in range coincide with drops in precision"
    " (MbNetv2_Conv_With_BN_HeUni)",
    "the steps of log range and of precision from layer to layer have a rank"
    " correlation of at most -0.3, for weights and activations",
    claims.spikes_are_drops,
  ),
  Finding(
    "More QMSE or QCE does not always mean more relative accuracy loss",
    "at least one pair within an architecture is ordered the other way by at"
    " least 0.5 points of decrease",
    claims.errors_do_not_order_losses,
  ),
  Finding(
    "Without BatchNorm several initialisers diverge, with it fewer",
    "at least two matched cells diverge without BN, and fewer with it",
    claims.batch_norm_prevents_divergence,
  ),
)
