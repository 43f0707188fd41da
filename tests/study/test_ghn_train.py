"""Training of hypernetworks: small ones, on made-up images."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qinit import ghn as hypernetworks
from qinit.archs import collection, darts
from qinit.archs.genotype import NetConfig
from qinit.errors import CheckpointError, QinitError, RunError
from qinit.functional import lanes
from qinit.functional.forward import forward
from qinit.ghn.config import GhnConfig
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.optimizer import Adam
from qinit.quant.simulation import Simulation
from qinit.study import ghn_data, ghn_step, ghn_train, ghn_workers
from qinit.study.ghn_data import Stream
from qinit.study.ghn_probe import Probe
from qinit.study.ghn_step import Task
from qinit.study.ghn_train import GhnTrain, Trainer
from tests.functional.test_chains import CELLS

SMALL = GhnConfig(hid=8, max_channels=8, max_kernel=7, virtual_edge=10)


def networks():
  configs = [
    NetConfig(
      CELLS, 3, C=8, norm=norm, stem_pool=True, fc_layers=layers, fc_dim=8
    )
    for norm in ("bn", None)
    for layers in (1, 2)
  ]
  return [collection.describe(i, config) for i, config in enumerate(configs)]


def stream(meta_batch=2):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, [40, 32, 32, 3]).astype(np.uint8)
  return Stream(images, np.arange(40) % 10, networks(), 8, meta_batch, 0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
  folder = tmp_path_factory.mktemp("base") / "ghn"
  hypernetworks.save(folder, HyperNet(SMALL))
  return str(folder)


def settings(base, folder, **changes):
  changes = {"steps": 4, "checkpoint_minutes": 0, "meta_batch": 2} | changes
  return GhnTrain(
    init_ghn=base, images=40, batch_size=8, output_dir=str(folder), **changes
  )


def trainer(made, data=None):
  data = data or stream(made.meta_batch)
  return Trainer(made, data, ghn_workers.Workers())


class Interrupted(Exception):
  pass


def interrupt(made, step):
  """Trains until `step` would begin."""
  keep = made._one

  def one():
    if int(made.step) == step:
      raise Interrupted
    return keep()

  made._one = one
  with pytest.raises(Interrupted):
    made.run(lambda p: None)


def test_an_epoch_holds_every_image_and_network_once():
  data = stream()
  orders = [
    np.concatenate([data._take(0, 40, s, 8) for s in range(e, e + 5)])
    for e in (0, 5)
  ]
  for order in orders:
    assert sorted(order) == list(range(40))
  assert (orders[0] != orders[1]).any()
  # Epochs of 40 in batches of 16 share a batch, and lose nothing.
  wide = dataclasses.replace(data, batch_size=16)
  five = np.concatenate([wide._take(0, 40, s, 16) for s in range(5)])
  assert np.bincount(five).tolist() == [2] * 40


def test_batches_depend_on_their_number_alone():
  images, labels = stream().batch(3)
  again, same = stream().batch(3)
  np.testing.assert_array_equal(images, again)
  np.testing.assert_array_equal(labels, same)
  assert (images != stream().batch(8)[0]).any()


def test_crops_are_windows_of_the_padded_image_or_of_its_mirror():
  image = np.arange(32 * 32 * 3, dtype=np.float32).reshape(1, 32, 32, 3)
  seen = set()
  for seed in range(40):
    (found,) = ghn_data.shifted(image, np.random.default_rng(seed))
    centre = found[8:24, 8:24]
    mirrored = bool(centre[0, 0, 0] > centre[0, 1, 0])
    centre = centre[:, ::-1] if mirrored else centre
    row, column = divmod(int(centre[0, 0, 0]) // 3, 32)
    np.testing.assert_array_equal(
      centre, image[0, row : row + 16, column : column + 16]
    )
    assert abs(row - 8) <= 4 and abs(column - 8) <= 4
    seen.add((mirrored, row, column))
  assert len(seen) > 30


def test_two_stages_give_the_gradient_of_one():
  ghn = HyperNet(SMALL)
  data = stream()
  images, labels = data.batch(0)
  tasks = [
    Task(n, None, data.seeds(0, i)) for i, n in enumerate(networks()[:2])
  ]
  found = ghn_step.step(ghn, tasks, images, labels)
  specs = [darts.build(task.network.config) for task in tasks]
  variables = list(ghn.weights.values())
  with tf.GradientTape() as tape:
    losses = [
      tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(
          labels, forward(spec, p, images, training=True, seed=task.seed)
        )
      )
      for spec, p, task in zip(
        specs, ghn.predict_batch(specs), tasks, strict=True
      )
    ]
    loss = sum(losses) / 2
  assert found.loss == pytest.approx(float(loss), rel=1e-5)
  for own, expected in zip(
    found.gradients, tape.gradient(loss, variables), strict=True
  ):
    expected = 0 * own if expected is None else tf.convert_to_tensor(expected)
    scale = float(tf.reduce_max(tf.abs(expected))) + 1e-8
    np.testing.assert_allclose(own / scale, expected / scale, atol=1e-3)


def test_adam_by_hand():
  w = tf.Variable([3.0, -4.0])
  adam = Adam([w], weight_decay=0.1)
  norm = adam.apply([tf.constant([6.0, 8.0])], 0.5)
  # |g| = 10, so g is halved, to (3, 4); with decay (3.3, 3.6). Adam's first
  # update is the rate times the sign.
  assert float(norm) == pytest.approx(10)
  np.testing.assert_allclose(w, [2.5, -4.5], rtol=1e-6)
  adam.apply([tf.constant([0.0, 0.0])], 0.5)
  g = np.array([3.3, 3.6]), np.array([0.25, -0.45])
  m = 0.9 * 0.1 * g[0] + 0.1 * g[1]
  v = 0.999 * 0.001 * g[0] ** 2 + 0.001 * g[1] ** 2
  step = 0.5 * (m / (1 - 0.9**2)) / (np.sqrt(v / (1 - 0.999**2)) + 1e-8)
  np.testing.assert_allclose(w, np.array([2.5, -4.5]) - step, rtol=1e-5)


@pytest.mark.parametrize("damaged", [False, True])
def test_interrupted_anywhere_it_ends_in_the_same_weights(
  base, tmp_path, damaged
):
  whole = trainer(settings(base, tmp_path / "whole"))
  whole.run(lambda p: None)

  made = settings(base, tmp_path / "parts")
  interrupt(trainer(made), 2)
  if damaged:  # the newest checkpoint, which step 2 would go on from
    (newest,) = (tmp_path / "parts/checkpoints").glob("ckpt-2.data-*")
    newest.write_bytes(newest.read_bytes()[:100])
  second = trainer(made)
  second.run(lambda p: None)
  assert int(second.step) == 4
  for a, b in zip(whole.variables, second.variables, strict=True):
    np.testing.assert_array_equal(a, b)
  assert whole.curve.points(4, 4) == second.curve.points(4, 4)


def test_the_rate_falls_at_three_quarters(base, tmp_path):
  made = trainer(settings(base, tmp_path, steps=8))
  rates = []
  made.adam.apply = lambda gradients, rate: rates.append(rate)
  made.run(lambda p: None)
  assert rates == pytest.approx([1e-3] * 6 + [1e-4] * 2)


def test_the_steps_that_minutes_make_are_kept_at_once(
  base, tmp_path, monkeypatch
):
  monkeypatch.setattr(ghn_train, "_TIMED_FROM", 1)
  monkeypatch.setattr(ghn_train, "_TIMED_TO", 2)
  changes = dict(steps=0, minutes=10, checkpoint_minutes=1000)
  made = trainer(settings(base, tmp_path, **changes))

  interrupt(made, 3)
  again = trainer(settings(base, tmp_path, **changes))
  again._restored()
  assert int(again.step) == 2
  assert int(again.steps) == int(made.steps) > 3


def test_nothing_is_saved_amid_skipped_steps(base, tmp_path):
  made = trainer(settings(base, tmp_path, steps=9))
  spoilt = ghn_step.Outcome(math.nan, 0.0, [0 * w for w in made.variables])
  whole = made.workers.reduced
  made.workers.reduced = lambda outcome: (
    spoilt if 2 <= made.step < 7 else whole(outcome)
  )
  saved = []
  keep = made._save
  made._save = lambda manager: saved.append(int(made.step)) or keep(manager)
  made.run(lambda p: None)
  assert saved == [1, 2, 8, 9]
  assert (made.back_off.skipped, made.back_off.times) == (5, 1)


def test_refused_settings_leave_the_folder_free(base, tmp_path, monkeypatch):
  monkeypatch.setattr(ghn_train, "stream", lambda made: stream())
  wrong = settings(str(tmp_path / "nowhere"), tmp_path / "run", steps=1)
  with pytest.raises(CheckpointError, match="there is no hypernetwork"):
    ghn_train.run(wrong)
  row = ghn_train.run(settings(base, tmp_path / "run", steps=1))
  assert row.cell["init_ghn"] == Path(base).parent.name
  with pytest.raises(RunError, match=r"other settings \(init_ghn\)"):
    ghn_train.run(wrong)
  # A training that is complete is not repeated.
  assert ghn_train.run(settings(base, tmp_path / "run", steps=1)) == row


def test_the_seed_is_that_of_the_first_weights_too(tmp_path):
  first, same, other = (
    ghn_train.start(GhnTrain(seed=seed)).weights["decoder.conv.2.weight"]
    for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, same)
  assert (first.numpy() != other.numpy()).any()


def test_a_loss_that_is_not_finite_changes_nothing_and_ends_in_words(
  base, tmp_path
):
  made = trainer(settings(base, tmp_path, steps=100))
  before = [w.numpy() for w in made.variables]
  spoilt = ghn_step.Outcome(math.nan, 0.0, [0 * w for w in before])
  made.workers.reduced = lambda outcome: spoilt
  made.workers.own = lambda tasks: tasks[:1]
  with pytest.raises(RunError, match="diverged at step 14: 15 losses"):
    made.run(lambda p: None)
  for w, value in zip(made.variables, before, strict=True):
    np.testing.assert_array_equal(w, value)
  assert made.rate() == pytest.approx(1e-3 / 2**5)


def test_weights_that_overflow_are_met_in_a_real_step(base, tmp_path):
  made = trainer(settings(base, tmp_path))
  bias = made.ghn.weights["decoder.conv.2.bias"]
  bias.assign(tf.fill(bias.shape, 3e38))
  before = [w.numpy() for w in made.variables]
  assert made._one() == (None, None)
  assert (made.back_off.skipped, int(made.step)) == (1, 1)
  for w, value in zip(made.variables, before, strict=True):
    np.testing.assert_array_equal(w, value)


def test_mixed_precision_is_the_networks_alone(base, tmp_path):
  outcomes = []
  for mixed in (False, True):
    made = trainer(settings(base, tmp_path, mixed_precision=mixed))
    found = []
    made.workers.reduced = lambda o, found=found: found.append(o) or o
    made._one()
    assert {w.dtype for w in made.variables} == {tf.float32}
    outcomes += found
  whole, half = outcomes
  assert half.loss != whole.loss
  # bfloat16 has 8 bits: 0.4 % a value.
  assert half.loss == pytest.approx(whole.loss, rel=0.02)
  assert {g.dtype for g in half.gradients} == {tf.float32}
  norms = [float(tf.linalg.global_norm(o.gradients)) for o in outcomes]
  assert norms[1] == pytest.approx(norms[0], rel=0.2)


def test_networks_are_sampled_from_the_split():
  found = ghn_data.networks("bn_free_50k", None, 6)
  assert [network.config.norm for network in found] == 6 * [None]
  again = ghn_data.networks("bn_free_50k", None, 6)
  assert [n.digest for n in found] == [n.digest for n in again]
  norms = {n.config.norm for n in ghn_data.networks("train", None, 6)}
  assert norms == {"bn"}


def test_several_widths_make_one_hypernetwork_that_sees_them(base, tmp_path):
  made = trainer(settings(base, tmp_path, bits=("float", "w4a4"), steps=2))
  assert made.ghn.config.widths
  ways = [task.how for task in made.tasks(0)]
  assert ways[0] is None and ways[1].weight_bits == 4
  graphs = [made.ghn.view(_spec())] * 2
  same = made.ghn.embed(graphs, [(0, 0), (4, 4)])
  half = len(same) // 2
  np.testing.assert_allclose(same[:half], same[half:], atol=1e-6)
  made.run(lambda p: None)
  other = made.ghn.embed(graphs, [(0, 0), (4, 4)])
  assert float(tf.norm(other[:half] - other[half:])) > 1e-3
  hypernetworks.save(tmp_path / "ghn", made.ghn)
  again = hypernetworks.load(tmp_path / "ghn")
  np.testing.assert_array_equal(again.embed(graphs, [(0, 0), (4, 4)]), other)


def test_schemes_are_seen_where_there_are_several(base, tmp_path):
  alike = trainer(settings(base, tmp_path, bits=("w2a2_noise", "w4a4")))
  assert alike.ghn.config.widths and not alike.ghn.config.schemes
  bits = ("w4a4", "w4a4_log")
  made = trainer(settings(base, tmp_path, bits=bits, steps=2))
  graphs = [made.ghn.view(_spec())] * 2
  widths = [
    ghn_step.widths_of(task.how, _spec(), graphs[0]) for task in made.tasks(0)
  ]
  assert widths == [(4, 4, 0), (4, 4, 1)]
  made.run(lambda p: None)
  found = made.ghn.embed(graphs, widths)
  half = len(found) // 2
  assert float(tf.norm(found[:half] - found[half:])) > 1e-3
  hypernetworks.save(tmp_path / "ghn", made.ghn)
  again = hypernetworks.load(tmp_path / "ghn")
  np.testing.assert_array_equal(again.embed(graphs, widths), found)


def test_mixed_precision_gives_each_layer_a_width_it_sees(base, tmp_path):
  bits = ("mixed", "w8a8", "mixed", "w4a4")
  made = trainer(settings(base, tmp_path, bits=bits, steps=1))
  spec, graph = _spec(), made.ghn.view(_spec())
  first, plain, second, _ = (t.how for n in (0, 1) for t in made.tasks(n))
  assert plain == Simulation(8, 8)
  seen = ghn_step.widths_of(first, spec, graph)
  assert seen.shape == (len(graph), 3)
  assert {tuple(row) for row in seen[1:].tolist()} == {
    (8, 8, 0),
    (4, 8, 0),
    (4, 4, 0),
  }
  assert seen[0].tolist() == [0, 0, 0]  # the input
  assert (seen != ghn_step.widths_of(second, spec, graph)).any()
  layers = dataclasses.replace(first, parts="layers")
  assert (seen != ghn_step.widths_of(layers, spec, graph)).any()
  np.testing.assert_array_equal(seen, ghn_step.widths_of(first, spec, graph))
  made.run(lambda p: None)
  assert made.back_off.skipped == 0


def test_its_row_has_the_threads_of_both_networks(base, tmp_path, monkeypatch):
  monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
  monkeypatch.setattr(lanes, "count", lambda: 2)
  made = trainer(settings(base, tmp_path, steps=1))
  made.run(lambda p: None)
  assert made.row().env["threads"] == 2


def test_the_norm_penalty_shrinks_what_is_predicted(base, tmp_path):
  norms = []
  for penalty in (0.0, 1.0):
    made = trainer(
      settings(base, tmp_path / str(penalty), norm_penalty=penalty)
    )
    made.run(lambda p: None)
    params = made.ghn.predict(_spec())
    norms.append(
      sum(float(tf.norm(w)) for k, w in params.items() if k.endswith("kernel"))
    )
  assert norms[1] < norms[0]


def test_damping_is_the_squared_rounding_error():
  # At 2 bits over [-1, 2] the codes are -1, 0, 1 and 2.
  params = {"a/kernel": tf.constant([[-1.0, 0.3, 2.0]]), "a/bias": tf.ones(1)}
  penalties = ghn_step.Penalties(damping=10.0)
  how = Simulation(2, 8)
  with tf.GradientTape() as tape:
    tape.watch(params)
    found = penalties.of(params, how)
  assert float(found) == pytest.approx(10 * 0.3**2)
  gradient = tape.gradient(found, params["a/kernel"])
  np.testing.assert_allclose(gradient, [[0, 6, 0]], atol=1e-5)
  assert float(penalties.of(params, None)) == 0
  # Percentiles of 3 values are their extremes.
  how = Simulation(2, 8, weight_clip="percentile")
  assert float(penalties.of(params, how)) == pytest.approx(10 * 0.3**2)


@pytest.mark.parametrize("quantizer", ["simquant", "noise"])
def test_learned_steps_leave_their_start_and_are_kept(
  base, tmp_path, quantizer
):
  changes = dict(bits=("w2a2",), weight_clip="learned", quantizer=quantizer)
  made = trainer(settings(base, tmp_path, steps=2, **changes))
  assert not made.ghn.weights["step.kernels"].numpy().any()
  made.run(lambda p: None)
  steps = made.ghn.weights["step.kernels"].numpy()
  assert steps[:, 2].any() and not np.delete(steps, 2, 1).any()
  hypernetworks.save(tmp_path / "ghn", made.ghn)
  ghn = hypernetworks.load(tmp_path / "ghn")
  assert ghn.config.learned_steps
  np.testing.assert_array_equal(ghn.weights["step.kernels"], steps)
  with pytest.raises(QinitError, match="has learned no quantisation steps"):
    HyperNet(SMALL).log_steps(ghn.view(_spec()), (2, 2))


def test_the_probe_counts_codes_that_turn_back():
  ghn = HyperNet(SMALL)
  probe = Probe(ghn, networks()[0], 4)
  weight = ghn.weights["decoder.conv.2.weight"]
  before = weight.numpy()
  for look in range(4):  # there, back, there, back
    weight.assign(before * (1 + look % 2 * np.linspace(-1, 1, 8)))
    probe.look()
  code, direction, frequency, _, _ = probe.state.numpy()
  assert set(np.unique(direction)) == {-1, 0, 1}
  # The second change was the first to turn back, the third the second.
  np.testing.assert_allclose(
    frequency[direction != 0], 0.01 * 0.99 + 0.01, rtol=1e-5
  )
  share = 100 * np.mean(direction != 0)
  assert probe.oscillating() == pytest.approx(share) and share > 5
  assert code.max() == 15 and code.min() == 0


def test_a_float_training_has_no_probe(base, tmp_path):
  assert trainer(settings(base, tmp_path)).probe is None


def test_bad_settings_are_named():
  with pytest.raises(QinitError, match="unknown quantizer 'noisy'"):
    GhnTrain(quantizer="noisy")
  with pytest.raises(QinitError, match="'w9' is no width"):
    GhnTrain(bits=("w9",))
  with pytest.raises(QinitError, match="either --steps or --minutes"):
    GhnTrain(steps=1, minutes=1)
  with pytest.raises(QinitError, match="log quantizer has no step"):
    GhnTrain(quantizer="log", weight_clip="learned")
  for name, value in {
    "learning_rate": math.nan,
    "weight_decay": -1e-5,
    "minutes": math.inf,
    "virtual_edge": 256,
    "seed": 2**63,
    "networks": -3,
  }.items():
    with pytest.raises(QinitError, match=f"--{name} must lie in"):
      GhnTrain(**{name: value})


def _spec():
  return darts.build(networks()[0].config)
