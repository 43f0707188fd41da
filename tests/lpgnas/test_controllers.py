"""Controllers, samples and the cost that they are taught by."""

import numpy as np
import pytest
import tensorflow as tf

from qinit.lpgnas import cost
from qinit.lpgnas.controllers import Controller, entropy, sample
from qinit.lpgnas.cost import Cost, GraphSize
from qinit.lpgnas.space import (
  Architecture,
  Block,
  Space,
  param_shapes,
  uniform,
)

SIZE = GraphSize(nodes=10, edges=40, values=30, num_features=100, num_classes=3)
ARCH = Architecture(
  (Block("gat", "sum", "relu", 2, 16), Block("gcn", "sum", "none", 4, 32)),
  skips=(1,),
)
PRECISION = uniform(2, "scaled4", "scaled8", "fix1.7") | {
  "block2/weight": "binary"
}


def test_samples_are_one_hot_with_a_soft_gradient():
  logits = tf.constant([1.0, 0.0, -1.0])
  with tf.GradientTape() as tape:
    tape.watch(logits)
    y = sample(logits, 0.5, 1.0, tf.constant([1, 2]))
    first = y[0]
  assert sorted(y.numpy().tolist()) == [0, 0, 1]
  gradient = tape.gradient(first, logits).numpy()
  assert gradient[0] > 0 > gradient[1]
  assert abs(gradient.sum()) < 1e-6  # of a softmax


def test_frequencies_are_those_of_the_softmax():
  """Gumbel-max: an option is marked as often as its probability says."""
  logits = tf.math.log([0.7, 0.2, 0.1])
  draw = tf.function(lambda seed: sample(logits, 5.0, 1.0, seed))
  draws = [draw(tf.constant([3, i])).numpy() for i in range(1000)]
  np.testing.assert_allclose(np.mean(draws, 0), [0.7, 0.2, 0.1], atol=0.05)
  quiet = [sample(logits, 5.0, 0.0, [3, i]).numpy() for i in range(5)]
  assert np.argmax(quiet, 1).tolist() == [0] * 5


@pytest.mark.parametrize("network", [True, False])
def test_controllers_start_undecided_and_learn(network):
  controller = Controller("c", {"a": 3, "b": 1, "c": 2}, 5, network, 0)
  x = tf.ones([5])
  logits = controller(x)
  assert {n: v.shape[0] for n, v in logits.items()} == {"a": 3, "b": 1, "c": 2}
  assert float(entropy(logits)) == pytest.approx(1)
  with tf.GradientTape() as tape:
    loss = -tf.nn.log_softmax(controller(x)["a"])[1]
  (gradient,) = tape.gradient(loss, [controller.heads])
  controller.heads.assign_sub(gradient)
  assert int(tf.argmax(controller(x)["a"])) == 1
  assert float(entropy(controller(x))) < 1


def test_a_controller_cannot_die():
  """Units that were all driven below 0 still learn."""
  controller = Controller("c", {"a": 3}, 5, True, 0)
  x = tf.ones([5])
  controller.heads.assign(tf.random.stateless_normal([64, 3], [0, 0]))
  controller.first.assign_sub(100 * tf.ones([5, 64]))
  with tf.GradientTape() as tape:
    loss = -tf.nn.log_softmax(controller(x)["a"])[1]
  heads, first = tape.gradient(loss, [controller.heads, controller.first])
  assert np.count_nonzero(heads.numpy().any(1)) > 16
  assert np.count_nonzero(first.numpy()) > 0


def test_model_bits_by_hand():
  # 4 bits: X to 16, two vectors of 16, output from 16 and 32; 1 bit: 16 to
  # 32; biases of 16, 32 and 3 at 32 bits.
  expected = 4 * (100 * 16 + 2 * 16 + 48 * 3) + 16 * 32 + 32 * (16 + 32 + 3)
  assert cost.model_bits(cost.sizes(ARCH, PRECISION), SIZE) == expected
  bits = cost.sizes(ARCH, PRECISION).bits
  assert cost.weight_bits(ARCH, bits, SIZE) == expected - 32 * 51
  shapes = param_shapes(ARCH, 100, 3)
  floats = sum(np.prod(shape) for shape in shapes.values())
  assert cost.model_bits(cost.float_sizes(ARCH), SIZE) == 32 * floats


def test_buffer_bits_by_hand():
  # Per node: 3 features; 3 states of 16 and 32 channels; 4 edges, 2 heads of
  # gat and one number of gcn; all at 8 bits.
  expected = 8 * (3 + 3 * 16 + 4 * 2 + 3 * 32 + 4 * 1)
  assert cost.buffer_bits(cost.sizes(ARCH, PRECISION), SIZE) == expected


def test_peak_buffer_bits_by_hand():
  # In the second aggregation: the first output (held for the output layer),
  # Linear, coefficients and the sum.
  expected = 8 * (10 * 16 + 10 * 32 + 40 + 10 * 32)
  sizes = cost.sizes(ARCH, PRECISION)
  found = cost.peak_buffer_bits(ARCH, sizes, SIZE)
  # After it the sum and the activation's output take 640 beside the 160.
  assert found == max(expected, 8 * (160 + 640))


def one_hot_costs(space, chosen, precision):
  def marks(options, values):
    return {
      n: tf.one_hot(o.index(values[n]), len(o)) for n, o in options.items()
    }

  decisions = marks(space.decisions(), chosen)
  return decisions, marks(space.precisions(), precision)


def test_expectations_of_certainty_are_the_exact_sizes():
  space, rng = Space(blocks=3), np.random.default_rng(0)
  for _ in range(5):
    chosen, precision = (
      {n: o[rng.integers(len(o))] for n, o in options.items()}
      for options in (space.decisions(), space.precisions())
    )
    probabilities = one_hot_costs(space, chosen, precision)
    expected = cost.expected_sizes(space, *probabilities)
    exact = cost.sizes(space.architecture(chosen), precision)
    for size in (cost.model_bits, cost.buffer_bits):
      np.testing.assert_allclose(size(expected, SIZE), size(exact, SIZE))
    c = float(Cost(space, SIZE)(*probabilities))
    assert 0 <= c <= 1
    assert c == pytest.approx(
      Cost(space, SIZE).of(space.architecture(chosen), precision), abs=1e-6
    )


def test_the_cost_prefers_fewer_bits_and_narrower_blocks():
  space = Space()
  logits = {n: tf.zeros(len(o)) for n, o in space.decisions().items()}
  formats = {n: tf.zeros(len(o)) for n, o in space.precisions().items()}
  with tf.GradientTape() as tape:
    tape.watch([logits, formats])
    c = Cost(space, SIZE)(
      {n: tf.nn.softmax(x) for n, x in logits.items()},
      {n: tf.nn.softmax(x) for n, x in formats.items()},
    )
  by_option, by_format = tape.gradient(c, [logits, formats])
  for gradient in (by_option["block1/hidden"], by_format["block1/weight"]):
    assert gradient[0] < 0 < gradient[-1]
  assert np.all(np.diff(by_format["input"]) > 0)
