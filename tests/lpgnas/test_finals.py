"""Deciding among networks by a short training."""

import dataclasses
import math

import pytest

from qinit.lpgnas import cost, finals
from qinit.lpgnas.baselines import ARCHITECTURES
from qinit.lpgnas.graphs import karate
from qinit.lpgnas.search import SearchConfig
from qinit.lpgnas.space import uniform
from qinit.lpgnas.taps import Quantise
from qinit.lpgnas.training import TrainConfig, Trained, Trainer

EPOCHS = 15
GCN = ARCHITECTURES["gcn"]
NETWORKS = [
  (GCN, uniform(2, "scaled8", "scaled8", "fix1.7")),
  (GCN, uniform(2, "binary", "scaled4", "fix1.3")),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
  """Maps beta to what is decided and what was trained for it; all share a
  folder."""
  folder = str(tmp_path_factory.mktemp("finals"))

  def run(beta):
    seen, config = [], SearchConfig(beta=beta)
    network = finals.best(
      karate(), NETWORKS, config, TrainConfig(), EPOCHS, folder, seen.append
    )
    return network, len(seen)

  return run


@pytest.fixture(scope="module")
def losses():
  """Errors of the validation nodes after as many epochs, each trained by hand;
  ln 2 where half of two classes are wrong."""
  config = dataclasses.replace(TrainConfig(), epochs=EPOCHS)
  trained = [
    Trainer(karate(), arch, config, Quantise(precision)).run()
    for arch, precision in NETWORKS
  ]
  return [2 * math.log(2) * (1 - t.val_accuracy / 100) for t in trained]


def test_without_a_cost_the_fewest_errors_win(found, losses):
  assert losses[0] < losses[1]
  assert found(0.0)[0] == NETWORKS[0]


def test_being_right_decides(monkeypatch):
  results = {"scaled8": 80.0, "binary": 81.0}

  class Known(Trainer):
    def run(self, folder=None, report=None):
      return Trained({}, results[self.tap.precision["output/weight"]], 0.0)

  monkeypatch.setattr(finals, "Trainer", Known)
  config = SearchConfig(beta=0.0)
  args = (karate(), NETWORKS, config, TrainConfig(), EPOCHS)
  assert finals.best(*args) == NETWORKS[1]


def test_the_cost_counts(found, losses):
  config, size = SearchConfig(), cost.GraphSize.of(karate())
  prices = [cost.Cost(config.space, size).of(*n) for n in NETWORKS]
  assert prices[1] < prices[0]
  even = (losses[1] - losses[0]) / (prices[0] - prices[1])
  for beta, winner in ((0.9 * even, 0), (1.1 * even, 1)):
    assert found(beta)[0] == NETWORKS[winner]


def test_what_is_trained_is_not_trained_again(found):
  found(0.0)
  assert found(1.0)[1] == 0
