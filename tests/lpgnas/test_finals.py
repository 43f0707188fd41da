"""Deciding among networks by a short training."""

import dataclasses

import pytest

from qinit.lpgnas import cost, finals
from qinit.lpgnas.baselines import ARCHITECTURES
from qinit.lpgnas.graphs import karate
from qinit.lpgnas.search import SearchConfig
from qinit.lpgnas.space import uniform
from qinit.lpgnas.taps import Quantise
from qinit.lpgnas.training import TrainConfig, Trainer

EPOCHS = 10
GCN = ARCHITECTURES["gcn"]
NETWORKS = [
  (GCN, uniform(2, "scaled8", "scaled8", "fix1.7")),
  (GCN, uniform(2, "binary", "scaled4", "fix1.3")),
  (ARCHITECTURES["gat"], uniform(2, "scaled4", "scaled8", "fix1.7")),
]


def found(beta, **more):
  config = SearchConfig(beta=beta)
  return finals.best(karate(), NETWORKS, config, TrainConfig(), EPOCHS, **more)


@pytest.fixture(scope="module")
def losses():
  """Validation losses after as many epochs, each trained by hand."""
  config = dataclasses.replace(TrainConfig(), epochs=EPOCHS)
  return [
    Trainer(karate(), arch, config, Quantise(precision)).run().val_loss
    for arch, precision in NETWORKS
  ]


def test_without_a_cost_the_least_loss_wins(losses):
  assert found(0.0) == NETWORKS[losses.index(min(losses))]


def test_the_cost_counts(losses):
  config, size = SearchConfig(), cost.GraphSize.of(karate())
  prices = [cost.Cost(config.space, size).of(*n) for n in NETWORKS]
  totals = [a + 1.5 * b for a, b in zip(losses, prices, strict=True)]
  assert found(1.5) == NETWORKS[totals.index(min(totals))]
  assert found(1000.0) == NETWORKS[1]  # the smallest


def test_what_is_trained_is_not_trained_again(tmp_path):
  first, again = [], []
  for seen in (first, again):
    found(0.1, folder=str(tmp_path), report=seen.append)
  assert len(first) == 2 * len(NETWORKS) and not again
