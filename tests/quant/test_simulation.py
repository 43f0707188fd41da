"""Quantisation anew for every batch, held to `Affine` and to the fake-quant
graph that takes its ranges as given."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from qinit.data.normalise import RANGE
from qinit.functional import chains, pointwise
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.quant import simulation
from qinit.quant.affine import Affine
from qinit.quant.batch_fold import BatchFolded
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.logquant import log_quant
from qinit.quant.quantizers import QUANTIZERS
from qinit.quant.scheme import Scheme
from qinit.quant.simulation import Simulated, Simulation
from qinit.quant.weight_range import percentile
from tests.functional.test_chains import network


@pytest.fixture
def images(rng):
  x = rng.normal(size=[8, 16, 16, 3]).astype(np.float32)
  return tf.constant(np.clip(x, *RANGE))


def _of_tensors(lo, hi, bits):
  return Affine.of_bounds(tf.constant(lo), tf.constant(hi), bits)


@pytest.mark.parametrize("lo, hi", [(-1.0, 1.0), (0.0, 3.0), (-0.7, 2.1)])
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("what", ["weights", "activations"])
def test_simulated_rounding_is_affine(lo, hi, bits, what, rng):
  x = rng.uniform(1.2 * lo, 1.2 * hi, 5000).astype(np.float32)
  if what == "activations":  # which their range holds, its ends too
    x = np.clip(x, lo, hi)
  affine = Affine.from_range(lo, hi, bits)
  expected = affine.dequantize(affine.quantize(x))
  quantise = getattr(QUANTIZERS["simquant"], what)
  found = quantise(tf.constant(x), lo, hi, _of_tensors(lo, hi, bits))
  step = float(affine.scale)
  # The same codes, but for what lies on the edge between two.
  codes = np.abs(found.numpy() - expected) / step
  edge = np.abs(np.abs(x / step - np.floor(x / step)) - 0.5) < 1e-4
  assert codes[~edge].max() < 1e-4


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_rectified_tensor_is_its_relu_quantised(name, rng):
  x = rng.normal(size=999).astype(np.float32)
  x[::7] = 0.0
  hi = float(x.max())
  affine, seed, row = _of_tensors(0.0, hi, 4), [1, 2], QUANTIZERS[name]
  x = tf.constant(x)
  with tf.GradientTape() as tape:
    tape.watch(x)
    found = row.rectified(x, 0.0, hi, affine, seed)
  expected = row.activations(tf.nn.relu(x), 0.0, hi, affine, seed)
  np.testing.assert_array_equal(found, expected)
  slope = tape.gradient(found, x).numpy()
  inner = x < hi  # at the maximum itself float32 may clip
  np.testing.assert_array_equal(slope[inner], x[inner] > 0)


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_tensors_own_range_passes_the_gradient(name, bits, rng):
  """To the extremes too, one of which lies outside of the nudged range."""
  x = tf.constant(rng.normal(0.1, 1, 99), tf.float32)
  lo, hi = float(tf.reduce_min(x)), float(tf.reduce_max(x))
  nudged = Affine.from_range(lo, hi, bits).range
  assert lo < nudged[0] or hi > nudged[1]
  with tf.GradientTape() as tape:
    tape.watch(x)
    affine, row = _of_tensors(lo, hi, bits), QUANTIZERS[name]
    y = row.activations(x, lo, hi, affine, [1, 2])
  np.testing.assert_array_equal(tape.gradient(y, x), np.ones(99))


def test_noise_has_the_step_of_the_rounding_it_stands_for(rng):
  x = tf.constant(rng.uniform(-1, 1, 20000), tf.float32)
  y = QUANTIZERS["noise"].weights(
    x, -1.0, 1.0, _of_tensors(-1.0, 1.0, 4), tf.constant([1, 2])
  )
  affine = Affine.from_range(-1, 1, 4)
  error = (y - tf.clip_by_value(x, *affine.range)).numpy() / affine.scale
  assert np.abs(error).max() <= 0.5 + 1e-5
  assert np.var(error) == pytest.approx(1 / 12, rel=0.03)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_noise_has_the_gradient_of_a_clamp(bits, rng):
  affine = Affine.from_range(-0.7, 2.1, bits)
  lo, hi = (float(v) for v in affine.range)
  x = tf.constant(rng.uniform(2 * lo, 2 * hi, 5000), tf.float32)
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = QUANTIZERS["noise"].weights(
      x, -0.7, 2.1, _of_tensors(-0.7, 2.1, bits), [1, 2]
    )
  assert np.abs(y - np.clip(x, lo, hi)).max() <= affine.scale * 0.5001
  np.testing.assert_array_equal(tape.gradient(y, x), (x >= lo) & (x <= hi))


def test_log_quant_by_hand():
  x = tf.constant([0.0, 1.0, 0.7, 0.72, 0.3, 0.2, -0.26, 8.0, 0.03])
  # Signed at 4 bits: exponents 3, 2, ..., -3.
  found = log_quant(x, tf.constant(-1.0), tf.constant(8.0), 4)
  expected = [0.0, 1.0, 0.5, 1.0, 0.25, 0.25, -0.25, 8.0, 0.0]
  np.testing.assert_allclose(found, expected)
  # Unsigned at 2 bits: 8, 4, 2 and 0.
  found = log_quant(tf.constant([8.0, 5.0, 1.5, 1.3]), 0.0, 8.0, 2)
  np.testing.assert_allclose(found, [8.0, 4.0, 2.0, 0.0])


def test_log_quant_hides_nothing_that_is_not_finite():
  x = tf.constant([np.nan, np.inf, -np.inf, 1.0, 0.0])
  found = log_quant(x, tf.constant(-1.0), tf.constant(8.0), 4)
  np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, 1.0, 0.0])
  found = log_quant(tf.ones(2), tf.constant(0.0), tf.constant(np.inf), 4)
  np.testing.assert_array_equal(found, [np.nan, np.nan])


def test_two_layers_of_a_chain_take_a_width_each():
  """By hand: 0.3 at 2 bits over [0, 1] is 1/3, at 8 bits 0.3 = 76.5 / 255."""
  nodes = [
    Node("flat", ops.Flatten(), (INPUT,)),
    Node("first", ops.Dense(1), ("flat",)),
    Node("last", ops.Dense(2), ("first",)),
  ]
  spec = NetSpec((1, 1, 3), tuple(nodes))
  params = {
    "first/kernel": tf.constant([[0.3], [1.0], [0.0]]),
    "first/bias": tf.zeros(1),
    "last/kernel": tf.constant([[0.3, 1.0]]),
    "last/bias": tf.zeros(2),
  }
  simulated = Simulated(spec, (0.0, 1.0))
  assert [n.name for n in simulated.chains[-1].nodes] == ["first", "last"]
  x = tf.constant([1.0, 0.0, 0.0], shape=[1, 1, 1, 3])
  wide, narrow = Simulation(8, 8), Simulation(2, 8)
  for first, last in itertools.product((wide, narrow), repeat=2):
    ways = {"flat": wide, "first": first, "last": last}
    found = simulated.forward(params, x, ways)[0].numpy()
    one, two = (1 / 3 if w is narrow else 76.5 / 255 for w in (first, last))
    np.testing.assert_allclose(found, [one * two, one], atol=0.004)


def test_percentiles_are_the_order_statistics(rng):
  x = rng.permutation(1000).astype(np.float32)
  lo, hi = percentile(tf.constant(x.reshape(10, 100)))
  assert (float(lo), float(hi)) == (10, 989)


def test_eight_bits_cost_little_and_fewer_cost_more(images):
  spec, params = network()
  expected = chains.forward(spec, params, images)
  errors = []
  for bits in (8, 4, 2):
    found = Simulated(spec, RANGE).forward(
      params, images, Simulation(bits, bits)
    )
    errors.append(float(tf.norm(found - expected) / tf.norm(expected)))
  assert errors[0] < 0.1
  assert errors == sorted(errors)


class Watched(FakeQuant):
  """A fake-quant tap that keeps what it returns."""

  def __init__(self, *arguments):
    super().__init__(*arguments)
    self.seen = {}

  def __call__(self, kind, name, tensor):
    self.seen[name] = super().__call__(kind, name, tensor)
    return self.seen[name]


def test_it_is_the_fake_quant_graph_with_its_own_ranges(images):
  """Without a concat that others share ranges with, ranges taken batch by
  batch and given beforehand are the same computation."""
  spec, params = network(norm=None, fc_layers=1)
  simulated = Simulated(spec, RANGE)
  scheme = Scheme(8, 8, 0.0)
  found = simulated.forward(params, images, Simulation(8, 8))
  folded = BatchFolded(spec, params)
  ranges = folded.calibrate([images], 0.0, RANGE)
  tap = None

  def tap_of(own):
    nonlocal tap
    tap = Watched(folded.placement, own, ranges, scheme)
    return tap

  expected = folded.forward(images, tap_of)
  assert INPUT in tap.seen
  error = tf.norm(found - expected) / tf.norm(expected)
  assert float(error) < 0.02


def test_without_a_seed_noise_is_rounding(images):
  spec, params = network()
  simulated = Simulated(spec, RANGE)
  rounded = simulated.forward(params, images, Simulation(4, 4))
  for name in ("noise", "noise_weights"):
    found = simulated.forward(params, images, Simulation(4, 4, name))
    np.testing.assert_array_equal(found, rounded)


def test_with_a_seed_evaluation_has_its_noise(images):
  spec, params = network()
  simulated = Simulated(spec, RANGE)
  exact = simulated.forward(params, images, Simulation(8, 8))
  first, again, other = (
    simulated.forward(params, images, Simulation(4, 4, "noise"), seed=[1, n])
    for n in (2, 2, 3)
  )
  np.testing.assert_array_equal(first, again)
  assert float(tf.norm(first - other)) > 0.01 * float(tf.norm(exact))


@pytest.mark.parametrize(
  "quantizer, clip",
  [*((name, "absolute") for name in QUANTIZERS), ("simquant", "percentile")],
)
def test_every_parameter_gets_a_gradient(quantizer, clip, images):
  spec, params = network()
  how = Simulation(4, 4, quantizer, clip)
  with tf.GradientTape() as tape:
    tape.watch(params)
    logits = Simulated(spec, RANGE).forward(params, images, how, True, [1, 2])
    loss = tf.reduce_sum(logits**2)
  gradients = tape.gradient(loss, params)
  for key, gradient in gradients.items():
    assert gradient is not None, key
    assert np.isfinite(gradient).all(), key
  nonzero = sum(bool(tf.reduce_any(g != 0)) for g in gradients.values())
  assert nonzero > 0.9 * len(gradients)


@pytest.mark.parametrize("stem_type, stem", [(0, "stem.0"), (1, "stem0.0")])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_statistics_known_beforehand_change_nothing(
  quantizer, stem_type, stem, images
):
  spec, params = network(stem_type=stem_type)
  simulated = Simulated(spec, RANGE)
  known = simulated.input_statistics(params, images)
  assert set(known) == {f"{stem}/mean", f"{stem}/variance"}
  conv = spec.node(stem).op
  y = conv.apply({"kernel": params[f"{stem}/kernel"]}, images)
  mean, variance = tf.nn.moments(y, [0, 1, 2])
  np.testing.assert_allclose(known[f"{stem}/mean"], mean, atol=0.05)
  np.testing.assert_allclose(known[f"{stem}/variance"], variance, rtol=0.05)
  for bits in (8, 4):
    how = Simulation(bits, bits, quantizer)
    expected = simulated.forward(params, images, how, seed=[1, 2])
    found = simulated.forward(params | known, images, how, seed=[1, 2])
    np.testing.assert_array_equal(found, expected)


def test_a_short_way_to_statistics_ends_at_the_same(images, monkeypatch):
  spec, params = network()
  pays = pointwise.moments_pay
  convs = [n for n in spec.nodes if isinstance(n.op, ops.Conv)]
  assert any(pays(n.op, params[f"{n.name}/kernel"]) for n in convs)
  how = Simulation(4, 4, "noise")  # no rounding that could go the other way
  results = []
  for way in (pays, lambda *_: False):
    monkeypatch.setattr(pointwise, "moments_pay", way)
    with tf.GradientTape() as tape:
      tape.watch(params)
      simulated = Simulated(spec, RANGE)
      logits = simulated.forward(params, images, how, seed=[1, 2])
      loss = tf.reduce_sum(logits**2)
    results.append([logits, *tape.gradient(loss, list(params.values()))])
  for short, long in zip(*results, strict=True):
    assert tf.norm(short - long) <= 1e-4 * tf.norm(long)


def test_without_batch_norm_there_are_no_statistics(images):
  spec, params = network(norm=None)
  assert Simulated(spec, RANGE).input_statistics(params, images) == {}


@pytest.mark.parametrize("clip", ["absolute", "percentile"])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_no_gradient_of_a_range_is_traced(quantizer, clip, images):
  """Ranges are constants of a step. What TensorFlow traces for the extremes of
  a tensor compares it with them, for order statistics it scatters into them;
  it would be dropped at the end, but keep every tensor until then and triple
  the graphs of what goes back."""
  spec, params = network()
  how = Simulation(4, 4, quantizer, clip)

  @tf.function(autograph=False)
  def gradients(params):
    with tf.GradientTape() as tape:
      tape.watch(params)
      network = Simulated(spec, RANGE)
      y = network.forward(params, images, how, True, [1, 2])
    return tape.gradient(y, params)

  graph = gradients.get_concrete_function(params).graph.as_graph_def()
  traced = {node.op for f in graph.library.function for node in f.node_def}
  assert {"Min", "Max"} <= traced
  assert not {"Equal", "ScatterNd"} & traced


def stepped(params, value):
  kernels = [k for k in params if k.endswith("kernel")]
  steps = {k.rsplit("/", 1)[0] + "/log_step": value for k in kernels}
  return params | {k: tf.constant(v, tf.float32) for k, v in steps.items()}


@pytest.mark.parametrize("quantizer", ["simquant", "noise"])
def test_a_learned_step_begins_as_that_of_the_range(quantizer, images):
  spec, params = network()
  simulated = Simulated(spec, RANGE)
  for training in (False, True):
    plain, learned = (
      simulated.forward(
        own, images, Simulation(8, 8, quantizer, clip), training, [1, 2]
      )
      for own, clip in (
        (params, "absolute"),
        (stepped(params, 0.0), "learned"),
      )
    )
    # What lies on the edge between two codes may take either.
    assert float(tf.norm(plain - learned) / tf.norm(plain)) < 0.01


def test_a_learned_step_and_its_gradient_by_hand():
  """One dense layer: dy/ds is round(w / s) - w / s inside and the code
  outside, times ds / dlog s = s and 1 / sqrt(N L)."""
  flat = Node("flat", ops.Flatten("chw"), (INPUT,))
  dense = Node("dense", ops.Dense(1), ("flat",))
  spec = NetSpec((1, 1, 4), (flat, dense))
  kernel = np.float32([[-1.0], [0.3], [0.85], [2.0]])
  params = {"dense/kernel": tf.constant(kernel), "dense/bias": tf.zeros(1)}
  x = np.float32([[1.0, 2.0, 3.0, 4.0]])
  log_step = tf.constant(np.log(0.5), tf.float32)
  with tf.GradientTape() as tape:
    tape.watch(log_step)
    y = Simulated(spec, (0.0, 4.0)).forward(
      params | {"dense/log_step": log_step},
      tf.reshape(x, [1, 1, 1, 4]),
      Simulation(2, 8, weight_clip="learned"),
      training=True,
    )
  # The range [-1, 2] has the step 1 and Z = 1; half of it holds -0.5 to 1.
  assert float(y[0, 0]) == pytest.approx(x[0] @ [-0.5, 0.5, 1.0, 1.0], abs=0.05)
  per_weight = np.array([-1.0, 1 - 0.6, 2 - 1.7, 2.0])
  expected = 0.5 * (x[0] @ per_weight) / np.sqrt(4 * 3)
  found = tape.gradient(y, log_step)
  assert float(found) == pytest.approx(expected, rel=0.02)


def test_all_widths_share_their_traced_functions(images):
  spec, params = network()
  simulated = Simulated(spec, RANGE)
  simulation._traced.cache_clear()  # other tests' functions
  simulated.forward(params, images, Simulation(8, 8))
  traced = simulation._traced.cache_info().currsize
  for bits in (7, 4, 2):
    simulated.forward(params, images, Simulation(bits, bits))
  assert simulation._traced.cache_info().currsize == traced
  simulated.forward(params, images, Simulation(8, 8, "log"))
  assert simulation._traced.cache_info().currsize > traced


def test_each_node_may_have_a_width_of_its_own(images):
  spec, params = network()
  simulated = Simulated(spec, RANGE)
  wide, narrow = Simulation(8, 8), Simulation(2, 2)
  mixed = {
    node.name: wide if i % 2 else narrow
    for i, node in enumerate(simulated.placement.spec.nodes)
  }
  uniform = simulated.forward(params, images, dict.fromkeys(mixed, wide))
  np.testing.assert_array_equal(
    uniform, simulated.forward(params, images, wide)
  )
  assert float(tf.norm(simulated.forward(params, images, mixed) - uniform)) > 0
