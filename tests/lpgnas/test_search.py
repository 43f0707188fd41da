"""The search: who learns when, what is sampled, and resuming."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from qinit.errors import CheckpointError, QinitError
from qinit.lpgnas.critic import Critic
from qinit.lpgnas.graphs import karate
from qinit.lpgnas.search import Search, SearchConfig
from qinit.lpgnas.space import Space

# Small enough to be traced in seconds.
SPACE = Space(
  attentions=("gcn", "gat"),
  aggregations=("sum",),
  activations=("relu", "tanh"),
  heads=(1, 2),
  hidden=(16, 32),
)
CONFIG = SearchConfig(
  space=SPACE, epochs=8, warm_architecture=0.25, warm_precision=0.5, beta=0.3
)


def heads(search):
  return [
    search.parts[part].heads.numpy() for part in ("architecture", "precision")
  ]


class Recorder(Search):
  """Notes who learns in which epoch."""

  def run(self, folder=None, report=None):
    self.learnt = []
    return super().run(folder, report)

  def step(self, epoch):
    bias = self.supernet.variables_by_name["output/bias"]
    before = [bias.numpy(), *heads(self)]
    result = super().step(epoch)
    after = [bias.numpy(), *heads(self)]
    pairs = zip(before, after, strict=True)
    self.learnt.append([bool((a != b).any()) for a, b in pairs])
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A search that has run, its folder, what it found, and its reports."""
  folder, reports = str(tmp_path_factory.mktemp("search")), []
  search = Recorder(karate(), CONFIG)
  return search, folder, search.run(folder, reports.append), reports


def test_phases_of_the_warm_up(finished):
  """Ka = 2, Kq = 4: the weights learn, then the architecture too, then all."""
  phases = [[True, False, False], [True, True, False], [True, True, True]]
  assert finished[0].learnt == [p for p in phases for _ in range(2)] + (
    [phases[-1]] * 2
  )


def test_samples_of_the_search(finished):
  search = finished[0]
  draws = search.sampled(
    tf.constant(1.0),
    tf.constant(1.0),
    tf.constant([True, True]),
    tf.constant([0, 3]),
  )
  _, (decisions, precisions) = draws
  assert {n: len(o) for n, o in SPACE.decisions().items()} == {
    n: x.shape[0] for n, x in decisions.items()
  }
  for one_hot in (*decisions.values(), *precisions.values()):
    assert sorted(one_hot.numpy())[-1] == 1.0
    assert float(tf.reduce_sum(one_hot)) == 1.0


def test_the_derived_network_is_the_likeliest(finished):
  search, _, derived, _ = finished
  logits, formats = search.likeliest()
  attention = SPACE.attentions[int(tf.argmax(logits["block1/attention"]))]
  assert derived.arch.blocks[0].attention == attention
  options = SPACE.precisions()["input"]
  assert derived.precision["input"] == options[int(tf.argmax(formats["input"]))]
  assert all(0 <= e <= 1 for e in derived.entropies)


def test_networks_are_drawn_from_the_controllers(finished):
  """Alike for every call; a head that is sure beats even doubled noise."""
  search = finished[0]
  drawn = search.drawn(8)
  assert drawn == search.drawn(8) and len({str(n) for n in drawn}) > 4
  kept, heads = search.architecture.heads.numpy(), search.architecture.heads
  start = list(SPACE.decisions()).index("block1/attention")
  assert start == 0
  heads[:, 0].assign(kept[:, 0] + 50.0)
  assert {n[0].blocks[0].attention for n in search.drawn(8)} == {"gcn"}
  heads.assign(kept)


def test_an_epoch_teaches_the_critic_the_errors_of_four_networks():
  """Each is drawn, passed through the supernet and counted by hand."""
  search = Search(karate(), dataclasses.replace(CONFIG, controller_rate=0.0))
  search.step(2)  # the weights' step comes first; the controllers stay
  tau, noise = map(tf.constant, CONFIG.schedule(2))
  learns, graph = tf.constant([True, False]), karate()
  critic = Critic(search.critic.options, math.log(2))
  for epoch in (10, 18, 26, 2):
    seed = tf.constant([1, epoch])
    _, (decisions, precisions) = search.sampled(tau, noise, learns, seed)
    logits, _ = search.supernet(
      search.inputs, decisions, precisions, lambda _, x: x
    )
    right = np.argmax(logits, 1)[graph.val] == graph.labels[graph.val]
    errors = 2 * math.log(2) * (1 - right.mean())
    critic.learn(decisions, tf.constant(errors, tf.float32))
  np.testing.assert_allclose(search.critic.state, critic.state, atol=1e-6)
  np.testing.assert_allclose(
    search.critic.covariance, critic.covariance, atol=1e-6
  )


def test_reports_say_entropy_and_bits(finished):
  (report,) = finished[3]
  assert (report.epoch, report.epochs) == (7, 8)
  for word in ("of the architecture", "of the precision", "expected bits W"):
    assert word in report.note


def test_a_finished_search_is_read_back(finished):
  search, folder, derived, _ = finished
  again = Search(karate(), CONFIG)
  assert again.run(folder) == derived
  for a, b in zip(heads(search), heads(again), strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_damaged_checkpoint_is_named(finished, tmp_path):
  import shutil

  copy = tmp_path / "copy"
  shutil.copytree(finished[1], copy)
  (data,) = (copy / "checkpoints").glob("*.data-*")
  data.write_bytes(data.read_bytes()[:50])
  with pytest.raises(CheckpointError, match="is damaged"):
    Search(karate(), CONFIG).run(str(copy))


def test_what_a_search_costs():
  """8 steps of the weights, from Ka = 2 on 6 of the controllers, and as many
  times three forward passes, a third of a step each."""
  assert CONFIG.steps == 8 + 6 + 6


def test_impossible_settings_are_refused():
  for settings in (
    dict(beta=-1.0),
    dict(controller="rnn"),
    dict(warm_architecture=0.5, warm_precision=0.4),
  ):
    with pytest.raises(QinitError):
      SearchConfig(**settings)


@pytest.mark.long
def test_an_interrupted_search_finds_the_same_network(tmp_path):
  config = SearchConfig(space=SPACE, epochs=60, seed=1)
  whole = Search(karate(), config)
  expected = whole.run()

  class Killed(Exception):
    pass

  def kill(progress):
    if progress.epoch == 39:  # the last checkpoint is of epoch 25
      raise Killed

  with pytest.raises(Killed):
    Search(karate(), config).run(str(tmp_path), kill)
  resumed = Search(karate(), config)
  assert resumed.run(str(tmp_path)) == expected
  for a, b in zip(heads(whole), heads(resumed), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.full
@pytest.mark.parametrize(
  "settings", [dict(single_level=True), dict(controller="logits")]
)
def test_other_modes_learn_too(settings):
  config = SearchConfig(
    space=SPACE, epochs=40, controller_rate=0.02, **settings
  )
  search = Search(karate(), config)
  search.run()
  assert all(np.abs(value).max() > 0 for value in heads(search))


@pytest.mark.full
def test_a_larger_beta_finds_a_smaller_network():
  from qinit.lpgnas import cost

  def bits(beta):
    config = SearchConfig(
      space=SPACE, beta=beta, epochs=80, controller_rate=0.02
    )
    found = Search(karate(), config).run()
    size = cost.GraphSize.of(karate())
    return cost.model_bits(cost.sizes(found.arch, found.precision), size)

  assert bits(0.0) > bits(10.0)
