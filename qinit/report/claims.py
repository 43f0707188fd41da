"""Tests of the paper's claims: pure functions of Evidence, each returning a
Verdict with the numbers that decided it, or raising Missing.

A difference in percent accuracy decrease below one point is within what ten
thousand test images and one seed can scatter.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from qinit.report import grid
from qinit.report.evidence import LEAST_OTHERS, Evidence, Missing, log_range
from qinit.stats.layerwise import KINDS, of_kind
from qinit.stats.rank import rank_correlation

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable at this scale"

_MARKED = 1.0  # points of percent accuracy decrease
_NOISE = 0.5  # points of accuracy
_CORRELATED = 0.3  # of a rank correlation

_WITH_BN = ("regular_conv_bn", "dws_conv_bn", "basic_residual_bn", "mbnetv2_bn")
_FAMILIES = tuple(arch.removesuffix("_bn") for arch in _WITH_BN)


@dataclasses.dataclass(frozen=True)
class Verdict:
  """`verdict` is one of the three constants; `numbers` decided it."""

  verdict: str
  numbers: str


def _verdict(holds, numbers):
  return Verdict(REPRODUCED if holds else NOT_REPRODUCED, numbers)


def improved(arch: str, init: str) -> Callable[[Evidence], Verdict]:
  """Tests whether `init` loses less than the others of `arch` by a marked
  amount. Where the others lose next to nothing it cannot be told."""

  def test(evidence):
    mine = evidence.decrease(arch, init)
    median = evidence.median_decrease(arch, but=(init,))
    numbers = (
      f"{grid.row_name(arch, init)} loses {mine:.2f} %,"
      f" the median of the others {median:.2f} %"
    )
    if median < _MARKED and abs(mine - median) < _MARKED:
      return Verdict(
        NOT_TESTABLE, f"{numbers}: the others lose too little to improve on"
      )
    return _verdict(median - mine >= _MARKED, numbers)

  return test


def stark_drop(arch: str, *inits: str) -> Callable[[Evidence], Verdict]:
  """Tests whether each of `inits` loses more than the others of `arch` by a
  marked amount."""

  def test(evidence):
    mine = {init: evidence.decrease(arch, init) for init in inits}
    median = evidence.median_decrease(arch, but=inits)
    lost = ", ".join(
      f"{grid.row_name(arch, init)} loses {value:.2f} %"
      for init, value in mine.items()
    )
    return _verdict(
      all(value - median >= _MARKED for value in mine.values()),
      f"{lost}, the median of the others {median:.2f} %",
    )

  return test


def batch_norm_and_depthwise_cost(evidence: Evidence) -> Verdict:
  """BatchNorm and depthwise convolutions both cost quantised accuracy."""
  worse, total = _worse_with_bn(evidence)
  regular, depthwise, count = _regular_and_depthwise(evidence)
  return _verdict(
    worse > total / 2 and depthwise < regular,
    f"with BN the decrease is larger in {worse} of {total} pairs; mean QUINT8"
    f" accuracy over {count} matched cells {depthwise:.2f} % (DWS) and"
    f" {regular:.2f} % (regular)",
  )


def _worse_with_bn(evidence):
  pairs = [
    (evidence.decrease(bn, init), evidence.decrease(no_bn, init))
    for bn, no_bn, init in _matched(
      evidence, [(f"{f}_bn", f"{f}_no_bn") for f in _FAMILIES]
    )
  ]
  if len(pairs) < 3:
    raise Missing(f"{len(pairs)} trained pairs with and without BN, 3 needed")
  return sum(bn > no_bn for bn, no_bn in pairs), len(pairs)


def _regular_and_depthwise(evidence):
  archs = [(f"regular_conv_{b}", f"dws_conv_{b}") for b in ("bn", "no_bn")]
  cells = list(_matched(evidence, archs))
  if len(cells) < 3:
    raise Missing(f"{len(cells)} matched DWS and regular cells, 3 needed")
  means = (
    float(
      np.mean([evidence.metric(c[k], c[2], "quint8_accuracy") for c in cells])
    )
    for k in (0, 1)
  )
  return *means, len(cells)


def _matched(evidence, pairs):
  """(arch, other, init) for initialisers that trained in both of a pair."""
  for arch, other in pairs:
    both = set(evidence.trained(arch)) & set(evidence.trained(other))
    yield from ((arch, other, init) for init in sorted(both))


def glorot_uniform_is_best(evidence: Evidence) -> Verdict:
  """GlorotUni leads in FP32, up to what seeds scatter."""
  gaps = {}
  for arch in evidence.archs():
    inits = evidence.trained(arch)
    if "glorot_uniform" in inits and len(inits) > LEAST_OTHERS:
      scores = {i: evidence.metric(arch, i, "fp32_accuracy") for i in inits}
      gaps[arch] = max(scores.values()) - scores["glorot_uniform"]
  if not gaps:
    raise Missing("an architecture with GlorotUni and four other initialisers")
  best = sum(gap <= _NOISE for gap in gaps.values())
  listed = ", ".join(f"{arch} {gap:.2f}" for arch, gap in gaps.items())
  return _verdict(
    best > len(gaps) / 2, f"points of FP32 accuracy behind the best: {listed}"
  )


def ranges_track_the_loss(evidence: Evidence) -> Verdict:
  """Ranges rise and early precision falls with the accuracy that is lost."""
  correlations = {}
  for arch in _WITH_BN:
    inits = evidence.trained(arch)
    if len(inits) > LEAST_OTHERS:
      losses = [evidence.decrease(arch, i) for i in inits]
      columns = zip(
        *(evidence.layer_means(arch, i) for i in inits), strict=True
      )
      correlations[arch] = [rank_correlation(c, losses) for c in columns]
  if not correlations:
    raise Missing("an architecture with five initialisers and layerwise rows")
  activation, weight, precision = np.mean(list(correlations.values()), axis=0)
  return _verdict(
    activation >= _CORRELATED
    and weight >= _CORRELATED
    and precision <= -_CORRELATED,
    f"rank correlation with the decrease, mean of {len(correlations)}"
    f" architectures: activation range {activation:+.2f}, early weight range"
    f" {weight:+.2f}, early weight precision {precision:+.2f}",
  )


def spikes_are_drops(evidence: Evidence) -> Verdict:
  """From layer to layer precision falls where the range rises (Fig. 6)."""
  runs = evidence.runs("mbnetv2_bn", "he_uniform")
  rho = {
    kind: float(np.mean([_spike_correlation(rows, kind) for rows in runs]))
    for kind in KINDS
  }
  return _verdict(
    all(value <= -_CORRELATED for value in rho.values()),
    "rank correlation of the steps from layer to layer: "
    + ", ".join(f"{kind}s {value:+.2f}" for kind, value in rho.items()),
  )


def _spike_correlation(rows, kind):
  rows = [r for r in of_kind(rows, kind) if r.range > 0]
  ranges, precision = (
    [log_range(r) for r in rows],
    [r.average_precision for r in rows],
  )
  if len(rows) < 4:
    raise Missing(f"four live layers of kind {kind}")
  return rank_correlation(np.diff(ranges), np.diff(precision))


def errors_do_not_order_losses(evidence: Evidence) -> Verdict:
  """Some network has more QMSE or QCE than another and loses less."""
  counts = {"qmse": 0, "qce": 0}
  total = 0
  for arch in evidence.archs():
    for one, other in itertools.combinations(evidence.trained(arch), 2):
      total += 1
      for metric in counts:
        counts[metric] += _against(evidence, arch, one, other, metric)
  if not total:
    raise Missing("two trained initialisers of one architecture")
  return _verdict(
    any(counts.values()),
    f"of {total} pairs within an architecture the one with more QMSE loses"
    f" less in {counts['qmse']}, with more QCE in {counts['qce']}",
  )


def _against(evidence, arch, one, other, metric):
  """True if the larger error goes with a decrease smaller by _NOISE."""
  error = evidence.metric(arch, one, metric) - evidence.metric(
    arch, other, metric
  )
  loss = evidence.decrease(arch, one) - evidence.decrease(arch, other)
  return error * loss < 0 and abs(loss) >= _NOISE


def batch_norm_prevents_divergence(evidence: Evidence) -> Verdict:
  """More cells diverge without BatchNorm than with it."""
  lost = {"bn": 0, "no_bn": 0}
  total = 0
  for family in _FAMILIES:
    cells = {b: evidence.finished(f"{family}_{b}") for b in lost}
    both = set(cells["bn"]) & set(cells["no_bn"])
    total += len(both)
    for b in lost:
      lost[b] += sum(cells[b][init] for init in both)
  if total < 3:
    raise Missing(f"{total} cells run with and without BN, 3 needed")
  return _verdict(
    lost["no_bn"] >= 2 and lost["bn"] < lost["no_bn"],
    f"of {total} matched cells {lost['no_bn']} diverge or stay at chance"
    f" without BN and {lost['bn']} with it",
  )
