"""The precision of a hypernetwork: small ones, on made-up images."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from qinit.archs import darts
from qinit.errors import CheckpointError, QinitError
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.rounding import round_to_one_of
from qinit.ghn.weights import weight_shapes
from qinit.lpgnas import hypernet, hypernet_cost, hypernet_file
from qinit.lpgnas.hypernet import Searched
from qinit.lpgnas.search import SearchConfig
from qinit.study import ghn_precision, ghn_step
from qinit.study.ghn_step import Task
from tests.study.test_ghn_train import SMALL, networks, stream

SPECS = [darts.build(network.config) for network in networks()[:2]]


@pytest.fixture(scope="module")
def base():
  return HyperNet(SMALL)


@pytest.fixture(scope="module")
def exponents(base):
  return hypernet.exponents(base, SPECS)


@pytest.fixture(scope="module")
def traced(base, exponents):
  return Searched(SMALL, base.weights, exponents)


@pytest.fixture
def searched(base, traced):
  """At 16 bits throughout."""
  return begun_anew(traced, base)


def begun_anew(ghn, base):
  for name, weight in ghn.weights.items():
    weight.assign(base.weights[name])
  ghn.precision = hypernet.uniform(SMALL, "scaled16", "scaled16")
  return ghn


def mixed(ghn):
  """Another format from component to component."""
  return {
    name: formats[j % len(formats)]
    for j, (name, formats) in enumerate(ghn.formats().items())
  }


def largest_difference(one, other):
  """Of predictions, as a share of the largest value of each tensor."""
  return max(
    float(tf.reduce_max(tf.abs(a[key] - b[key])))
    / (float(tf.reduce_max(tf.abs(a[key]))) + 1e-9)
    for a, b in zip(one, other, strict=True)
    for key in a
  )


def test_rounding_to_one_of_the_grids_by_hand():
  x = tf.constant([-3.0, -0.3, 0.2, 0.8])
  steps, halves = [0.5, 0.25], [4.0, 4.0]  # to 1.5, and to 0.75
  with tf.GradientTape() as tape:
    choice = tf.constant([0.0, 1.0])
    tape.watch([x, choice])
    y = round_to_one_of(x, tf.stack([choice, steps, halves]))
    loss = tf.reduce_sum(y * [1.0, 2.0, 3.0, 4.0])
  np.testing.assert_array_equal(y, [-1.0, -0.25, 0.25, 0.75])
  to_x, to_choice = tape.gradient(loss, [x, choice])
  np.testing.assert_array_equal(to_x, [0.0, 2.0, 3.0, 0.0])
  # On the grid of 0.5: -2, -0.5, 0 and 1.
  np.testing.assert_array_equal(to_choice, [1.0, -1 - 0.5 + 0.75 + 3])


def test_a_matrix_at_four_bits_by_hand(searched):
  name = "decoder_1d.fc.0.weight"
  weight = searched.weights[name]
  w = np.zeros(weight.shape, np.float32)
  w[0, :4] = [0.9, -0.5, 0.06, 0.07]  # max < 1: steps of 1/8
  weight.assign(w)
  searched.precision = searched.precision | {name: "scaled4"}
  np.testing.assert_array_equal(
    searched.read()[name][0, :5], [0.875, -0.5, 0.0, 0.125, 0.0]
  )
  bias = "decoder_1d.fc.0.bias"
  assert searched.read()[bias] is searched.weights[bias]


def test_components(base):
  left = weight_shapes(SMALL).keys() - hypernet.matrices(SMALL).keys()
  assert {name.rsplit(".", 1)[1] for name in left if "ln" not in name} == {
    "bias",
    "bias_ih",
    "bias_hh",
  }
  assert "gnn.gru.weight_hh" in hypernet.matrices(SMALL)
  assert "bias_class.1.weight" in hypernet.matrices(SMALL)


def test_exponents_hold_what_is_predicted(base, exponents):
  """The states are mixtures of a tanh and of the features."""
  x = base.embed([base.view(spec) for spec in SPECS])
  assert float(tf.reduce_max(tf.abs(x))) < 2.0 ** exponents["embeddings"]
  assert exponents["states"] <= max(1, exponents["features"])
  assert exponents.keys() == hypernet.vectors(SMALL).keys()


def test_at_16_bits_it_predicts_what_float_predicts(base, searched):
  expected = base.predict_batch(SPECS)
  assert set(searched.precision.values()) == {"scaled16"}
  found = searched.predict_batch(SPECS)
  assert largest_difference(expected, found) < 0.01
  searched.precision = mixed(searched)
  assert largest_difference(expected, searched.predict_batch(SPECS)) > 0.1


def test_states_and_messages_lie_on_their_grids(searched):
  searched.precision = searched.precision | {"states": "scaled4"}
  looked = {}

  class Looking(Searched):
    def tap(self, name, x):
      looked[name] = x
      return super().tap(name, x)

  ghn = Looking(SMALL, searched.weights, searched.exponents)
  ghn.precision = searched.precision
  tf.config.run_functions_eagerly(True)
  try:
    ghn.embed([ghn.view(SPECS[0])])
  finally:
    tf.config.run_functions_eagerly(False)
  for name, bits in (("states", 4), ("messages", 16)):
    codes = np.ldexp(looked[name], bits - 1 - searched.exponents[name])
    np.testing.assert_array_equal(codes, np.round(codes))
    assert np.abs(codes).max() <= 2 ** (bits - 1) and codes.any()


def test_nothing_is_traced_for_another_precision(searched):
  searched.predict_batch(SPECS)
  before = searched._decode.experimental_get_tracing_count()
  searched.precision = mixed(searched)
  searched.predict_batch(SPECS)
  assert searched._decode.experimental_get_tracing_count() == before


def step(ghn):
  data = stream()
  tasks = [
    Task(n, None, data.seeds(0, i)) for i, n in enumerate(networks()[:2])
  ]
  return ghn_step.step(ghn, tasks, *data.batch(0))


def test_gradients_reach_weights_and_choices(searched):
  found = step(searched)
  assert len(found.gradients) == len(searched.weights) + len(searched.choices)
  choices = dict(zip(searched.choices, found.gradients[-24:], strict=True))
  for name, gradient in choices.items():
    assert len(set(gradient.numpy().tolist())) > 1, name
  weights = dict(zip(searched.weights, found.gradients, strict=False))
  for name in hypernet.matrices(SMALL):
    assert float(tf.norm(weights[name])) > 0, name


def test_the_gradient_of_a_choice_in_the_sweep_is_that_of_its_values(searched):
  """<dL/dy, y_k> summed over the options taken is what scaling all that is
  stored there would do: the choice doubled, everything is doubled."""
  graphs = [searched.view(SPECS[0])]
  choice = searched.choices["messages"]
  one_hot = choice.numpy()

  def loss(scale):
    choice.assign(scale * one_hot)
    return float(tf.reduce_sum(searched.embed(graphs) ** 2 * weights))

  weights = tf.random.stateless_uniform(searched.embed(graphs).shape, [0, 1])
  with tf.GradientTape() as tape:
    value = tf.reduce_sum(searched.embed(graphs) ** 2 * weights)
  gradient = tape.gradient(value, choice).numpy()
  slope = (loss(1.01) - loss(0.99)) / 0.02
  assert gradient[one_hot.argmax()] == pytest.approx(slope, rel=0.1)


def test_sizes_by_hand():
  shapes = weight_shapes(SMALL)
  count = sum(math.prod(s) for s in shapes.values())
  assert hypernet_cost.model_bits(SMALL, {}) == 32 * count
  bits = hypernet_cost.widths(hypernet.uniform(SMALL, "scaled4", "scaled8"))
  matrices = sum(math.prod(s) for s in hypernet.matrices(SMALL).values())
  expected = 4 * matrices + 32 * (count - matrices)
  assert hypernet_cost.model_bits(SMALL, bits) == expected
  # features, messages of two MLPs, states and embeddings of 8; the decoder's
  # 32 and 64, a row of 8 and 16.
  assert hypernet_cost.buffer_bits(SMALL, bits) == 8 * (5 * 8 + 120)


def test_the_cost_by_hand():
  cost = hypernet_cost.Cost(SMALL)
  options = hypernet.options(SMALL)

  def of(place):
    ends = {
      name: tf.one_hot(place % len(o), len(o)) for name, o in options.items()
    }
    return float(cost(ends))

  assert of(0) == pytest.approx(0, abs=1e-6) and of(-1) == pytest.approx(1)
  (low, high), (least, most) = cost.bounds
  bits = hypernet_cost.widths(hypernet.uniform(SMALL, "scaled3", "scaled6"))
  model = math.log(hypernet_cost.model_bits(SMALL, bits)) - low
  buffer = math.log(hypernet_cost.buffer_bits(SMALL, bits)) - least
  expected = (model / (high - low) + 0.5 * buffer / (most - least)) / 1.5
  assert of(1) == pytest.approx(expected, rel=1e-5)


def test_a_file_predicts_the_same_and_has_the_bits_that_are_stated(
  searched, tmp_path
):
  searched.precision = mixed(searched)
  path = tmp_path / "model.npz"
  hypernet_file.write(path, searched)
  again = hypernet_file.read(path)
  assert again.precision.items() <= searched.precision.items()
  expected = searched.predict_batch(SPECS)
  for a, b in zip(expected, again.predict_batch(SPECS), strict=True):
    for key in a:
      np.testing.assert_array_equal(a[key], b[key])
  bits = hypernet_cost.model_bits(
    SMALL, hypernet_cost.widths(searched.precision)
  )
  over = 8 * hypernet_file.weight_bytes(path) - bits
  assert 0 <= over < 8 * len(searched.weights)  # each begins at a byte


def test_a_damaged_file_is_named(searched, tmp_path):
  path = tmp_path / "model.npz"
  hypernet_file.write(path, searched)
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(CheckpointError, match="no low-precision hypernetwork"):
    hypernet_file.read(path)


def test_formats_that_do_not_exist_are_refused(searched):
  with pytest.raises(QinitError, match="unknown format of states 'scaled5'"):
    searched.precision = searched.precision | {"states": "scaled5"}


CONFIG = SearchConfig(
  epochs=6, warm_precision=1 / 3, controller="logits", controller_rate=0.2
)


@pytest.fixture
def search(base, traced):
  """Makes searches, each from the beginning."""

  def make(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    ghn = begun_anew(traced, base)
    return ghn_precision.Search(ghn, config, stream(), stream())

  return make


def heads(found):
  return found.controller.heads.numpy()


def test_weights_learn_at_once_and_choices_behind_the_warm_up(search):
  found, reports = search(), []
  learnt = []
  for number in range(3):
    weight = found.ghn.weights["decoder.conv.2.weight"]
    before = weight.numpy(), heads(found)
    found.step(number)
    after = weight.numpy(), heads(found)
    pairs = zip(before, after, strict=True)
    learnt.append([bool((a != b).any()) for a, b in pairs])
  assert learnt == [[True, False], [True, False], [True, True]]
  found.run(report=reports.append)
  (report,) = reports
  assert (report.epoch, report.epochs) == (5, 6)
  assert "expected bits W" in report.note and math.isfinite(report.loss)


def test_a_search_that_was_interrupted_ends_in_the_same_precision(
  search, tmp_path, monkeypatch
):
  monkeypatch.setattr(ghn_precision, "_SAVED", 1)
  whole = search()
  expected = whole.run()
  weight = whole.ghn.weights["decoder.conv.2.weight"].numpy()

  class Interrupted(Exception):
    pass

  first = search()
  keep = first.step

  def step(number):
    if number == 4:
      raise Interrupted
    return keep(number)

  first.step = step
  with pytest.raises(Interrupted):
    first.run(str(tmp_path))
  second = search()
  assert second.run(str(tmp_path)) == expected
  np.testing.assert_array_equal(heads(whole), heads(second))
  again = second.ghn.weights["decoder.conv.2.weight"].numpy()
  np.testing.assert_array_equal(weight, again)


@pytest.mark.long
def test_a_larger_beta_ends_in_fewer_bits(search):
  bits = []
  for beta in (0.0, 100.0):
    found = search(beta=beta, epochs=24)
    precision = found.run().precision
    bits.append(
      hypernet_cost.model_bits(SMALL, hypernet_cost.widths(precision))
    )
  smallest = hypernet.uniform(SMALL, "ternary", "scaled4")
  least = hypernet_cost.model_bits(SMALL, hypernet_cost.widths(smallest))
  assert bits[1] == least < bits[0]
