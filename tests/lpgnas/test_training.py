"""Training of given networks: the dead layer and its cure, resuming,
Degree-Quant and the other baselines."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from qinit.lpgnas.baselines import (
  ARCHITECTURES,
  UNIFORM,
  MixedBits,
  draw,
  random_search,
  uniform_precision,
  w4a8_space,
)
from qinit.lpgnas.cost import GraphSize, float_sizes, weight_bits
from qinit.lpgnas.degree_quant import DegreeQuant, protection
from qinit.lpgnas.graphs import karate
from qinit.lpgnas.search import SearchConfig
from qinit.lpgnas.space import Architecture, Block, Space, uniform
from qinit.lpgnas.taps import Quantise
from qinit.lpgnas.training import TrainConfig, Trainer, error_loss
from tests.lpgnas.conftest import make_graph

GCN = Architecture(
  (Block("gcn", "sum", "relu", 1, 16), Block("gcn", "sum", "none", 1, 16))
)


def wide_graph():
  """As many features as CiteSeer, so that Glorot's bound, sqrt(6 / (3703 +
  16)) = 0.040, is below half a step of fix1.3, 0.0625."""
  return make_graph(60, 3703, 3, density=0.01)


def gradient_norms(weights):
  """Largest gradient of each matrix in one training step."""
  graph = wide_graph()
  precision = uniform(2, weights, "fix4.4", "fix1.7")
  config = TrainConfig(epochs=1, dropout=0.0)
  trainer = Trainer(graph, GCN, config, Quantise(precision))
  with tf.GradientTape() as tape:
    logits = trainer._logits(trainer.tap, lambda name, x: x)
    loss = tf.reduce_sum(tf.square(logits - 1.0))
  names = ("block1/weight0", "block2/weight1")
  found = tape.gradient(loss, [trainer.params[name] for name in names])
  return [float(tf.reduce_max(tf.abs(g))) for g in found]


def test_the_dead_layer():
  """Every weight of the first layer is rounded to 0, so nothing comes out of
  it, ReLU'(0) = 0, and no gradient ever reaches it."""
  assert gradient_norms("fix1.3") == [0, 0]


def test_its_cure_is_the_default():
  assert Space().formats == "scaled"
  assert "scaled4" in Space().precisions()["block1/weight"]
  assert min(gradient_norms("scaled4")) > 0


@pytest.mark.full
def test_dead_on_citeseer_and_alive_with_the_cure(real_graph):
  graph = real_graph("citeseer", "planetoid")
  accuracies = {}
  for weights in ("fix1.3", "scaled4"):
    precision = uniform(2, weights, "fix4.4", "fix1.7")
    config = TrainConfig(epochs=100, dropout=0.5, float_share=0.0)
    trained = Trainer(graph, GCN, config, Quantise(precision)).run()
    accuracies[weights] = trained.test_accuracy
  # 18.1 % is the share of one class among the test nodes.
  assert accuracies["fix1.3"] < 25
  assert accuracies["scaled4"] > 60


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path):
  config = TrainConfig(epochs=60, every=1)
  precision = uniform(2, "scaled4", "scaled8", "fix1.7")

  def trainer(epochs=60):
    tap = Quantise(precision)
    trainer = Trainer(karate(), GCN, config, tap)
    trainer.config = dataclasses.replace(config, epochs=epochs)
    return trainer

  whole = trainer().run()
  trainer(30).run(str(tmp_path))  # saved at epochs 10, 20 and 30
  resumed = trainer().run(str(tmp_path))
  for name, value in whole.params.items():
    np.testing.assert_array_equal(resumed.params[name], value)
  assert resumed.test_accuracy == whole.test_accuracy


def test_interrupted_searches_of_the_baselines_end_alike(tmp_path):
  config = TrainConfig(epochs=20, every=1)

  def widths(epochs=20):
    return MixedBits(
      karate(), GCN, dataclasses.replace(config, epochs=epochs), 5.0
    )

  whole = widths()
  whole.run()
  widths(10).run(str(tmp_path / "mixed"))
  resumed = widths()
  resumed.run(str(tmp_path / "mixed"))
  for name, value in whole.logits.items():
    np.testing.assert_array_equal(resumed.logits[name], value)

  search = SearchConfig(epochs=6)
  first, again = [], []
  for seen in (first, again):
    random_search(
      karate(), search, config, 12, 2, str(tmp_path / "random"), seen.append
    )
  assert first and not again  # both candidates were trained already


@pytest.mark.parametrize("classes", [2, 7])
def test_errors_are_on_the_scale_of_the_cross_entropy(classes):
  """0 where all is right, and that of a uniform guess at chance."""
  assert error_loss(1.0, classes) == 0
  guess = -math.log(1 / classes)
  assert error_loss(1 / classes, classes) == pytest.approx(guess)


def test_of_equal_accuracies_the_smaller_loss_is_kept():
  graph = karate()
  wrong = np.array(graph.labels)
  wrong[graph.val[0]] = 1 - wrong[graph.val[0]]  # so that 100 % is no tie
  trainer = Trainer(graph, GCN, TrainConfig())

  def kept_after(scale, mark):
    trainer.logits = lambda: scale * tf.one_hot(wrong, 2)
    trainer.params["output/bias"].assign([mark, mark])
    trainer._look(True)
    return trainer.best["output/bias"].numpy()[0]

  assert kept_after(1.0, mark=1) == 1
  assert kept_after(0.5, mark=2) == 1  # a larger loss
  assert kept_after(1.0, mark=3) == 3  # the same again
  assert kept_after(0.999, mark=4) == 3


def test_a_loss_that_is_not_finite_ends_the_training():
  trainer = Trainer(karate(), GCN, TrainConfig(epochs=5))
  trainer.params["output/bias"].assign([np.nan, 0.0])
  with pytest.raises(FloatingPointError, match="not finite"):
    trainer.run()


def test_protection_grows_with_the_degree():
  degree = np.array([1, 5, 2, 2])
  np.testing.assert_allclose(protection(degree, 8), [0.025, 0.1, 0.075, 0.075])
  np.testing.assert_allclose(protection(degree, 4), [0.125, 0.2, 0.175, 0.175])


def test_degree_quant_spares_whole_nodes(random_graph, rng):
  x = tf.constant(rng.normal(size=[20, 30]), tf.float32)
  tap = DegreeQuant(random_graph, 4)
  plain = tap("block1/linear", x)
  assert len(np.unique(plain)) <= 16
  spared = 0
  for step in range(50):
    y = tap.training(tf.constant([0, step]))("block1/linear", x)
    same = np.all(y.numpy() == x.numpy(), 1)
    np.testing.assert_array_equal(y[~same], plain[~same])
    spared += same.sum()
  expected = 50 * protection(random_graph.degree, 4).sum()
  assert spared == pytest.approx(expected, rel=0.25)


def test_the_zoo_of_baselines():
  assert set(ARCHITECTURES) == {"gcn", "gat", "sage", "jknet"}
  size = GraphSize(2708, 13264, 49216, 1433, 7)
  bits = {
    name: weight_bits(arch, float_sizes(arch).bits, size)
    for name, arch in ARCHITECTURES.items()
  }
  gcn = 32 * (1433 * 64 + 64 * 64 + 64 * 7)
  assert bits["gcn"] == bits["sage"] == gcn
  assert bits["gat"] == gcn + 32 * 4 * 64
  assert bits["jknet"] == gcn + 32 * (64 * 64 + 2 * 64 * 7)


def test_uniform_widths_are_what_their_names_say():
  from qinit.lpgnas.cost import sizes

  for name in UNIFORM:
    found = sizes(GCN, uniform_precision(name, GCN)).bits
    w, a = int(name[1]), int(name[3])
    assert (found["block1/weight"], found["block2/aggregate"]) == (w, a)
    assert found["block1/attention"] == a


def test_searches_that_the_search_is_compared_with():
  small = Space(
    attentions=("gcn",), activations=("relu",), heads=(1,), hidden=(16,)
  )
  assert {len(o) for o in w4a8_space(small).precisions().values()} == {1}
  first, again = (draw(Space(), np.random.default_rng(1)) for _ in range(2))
  assert first == again
  config = SearchConfig(space=small, epochs=6)
  arch, precision = random_search(karate(), config, TrainConfig(), 12, 2)
  assert arch.blocks[0].attention == "gcn"
  assert set(precision) == set(small.precisions())


def test_mixed_bits_fall_when_they_cost():
  from qinit.lpgnas.cost import model_bits, sizes

  def bits(lam):
    config = TrainConfig(epochs=40, learning_rate=0.05)
    found = MixedBits(karate(), GCN, config, lam).run()
    return model_bits(sizes(GCN, found), GraphSize.of(karate()))

  assert bits(10.0) < bits(0.0)
