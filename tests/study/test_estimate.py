"""What `--dry_run` measures and extrapolates."""

from qinit.data import catalogue
from qinit.study import estimate
from qinit.study.init_study import InitStudy


def test_the_probe_does_not_diverge(monkeypatch):
  probed = []

  def train(study, cell, data, report):
    probed.append(cell)
    for _ in range(study.epochs):
      report(None)

  monkeypatch.setattr(estimate, "train", train)
  study = InitStudy(inits=("rand_norm_large",))
  estimate.measure(study, "regular_conv_no_bn")
  (cell,) = probed
  assert (cell.arch, cell.init) == ("regular_conv_no_bn", "glorot_uniform")


def test_the_digits_are_counted_right():
  digits = catalogue.load("digits")
  assert estimate._TRAIN_IMAGES["digits"] == len(digits.train_labels)
  assert estimate._TEST_IMAGES["digits"] == len(digits.test_labels)
