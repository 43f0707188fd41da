import dataclasses
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qinit import keras
from qinit.data import digits
from qinit.errors import CheckpointError
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node
from qinit.keras.fit import FitConfig, fit, predict
from qinit.params.initializers import initial_params

CONFIG = FitConfig(epochs=3, batch_size=8, learning_rate=0.01, seed=1)
STEPS = 44


class Killed(Exception):
  pass


@pytest.fixture(scope="module")
def data():
  """352 digits: 44 steps of 8, some more than two reports are apart."""
  whole = digits.dataset()
  return dataclasses.replace(
    whole,
    train_images=whole.train_images[: 8 * STEPS],
    train_labels=whole.train_labels[: 8 * STEPS],
    test_images=whole.test_images[:50],
    test_labels=whole.test_labels[:50],
  )


def tiny_spec(filters=16):
  """Everything that has a state: BatchNorm, dropout."""
  return NetSpec(
    (32, 32, 3),
    (
      Node("conv", ops.Conv(filters, 5, 4), (INPUT,)),
      Node("bn", ops.BatchNorm(momentum=0.9), ("conv",)),
      Node("relu", ops.Relu(), ("bn",)),
      Node("pool", ops.Pool("max", 3, 2), ("relu",)),
      Node("flat", ops.Flatten(), ("pool",)),
      Node("hidden", ops.Dense(32), ("flat",)),
      Node("hidden_relu", ops.Relu(), ("hidden",)),
      Node("drop", ops.Dropout(0.1), ("hidden_relu",)),
      Node("logits", ops.Dense(10), ("drop",)),
    ),
  )


def fresh_model(filters=16):
  spec = tiny_spec(filters)
  model = keras.build(spec)
  keras.assign(model, initial_params(spec, "he_uniform", 0))
  return model


def train(data, folder, report=lambda progress: None, **settings):
  """Trains a fresh model as a new process would."""
  model = fresh_model()
  config = dataclasses.replace(CONFIG, **settings)
  return model, fit(model, data, config, str(folder), report)


def assert_same_weights(first, second):
  first, second = keras.params(first), keras.params(second)
  for key, value in first.items():
    np.testing.assert_array_equal(value, second[key], err_msg=key)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
  """(model, outcome, folder, progress) of a training in one go."""
  folder, progress = tmp_path_factory.mktemp("undisturbed"), []
  model, outcome = train(data, folder, progress.append)
  return model, outcome, folder, progress


@pytest.mark.parametrize(
  "epochs, milestones",
  [
    (200, (75, 120, 170)),  # the paper's
    (60, (22, 36, 51)),
    (20, (8, 12, 17)),
    (1, (1, 1, 1)),  # the only epoch is the first: it has the full rate
  ],
)
def test_learning_rate_falls_at_the_papers_milestones(epochs, milestones):
  config = FitConfig(epochs=epochs)
  rates = [config.rate(epoch) for epoch in range(epochs)]
  wanted = [
    0.01 * 0.1 ** sum(epoch >= m for m in milestones) for epoch in range(epochs)
  ]
  np.testing.assert_allclose(rates, wanted)


def test_the_defaults_are_the_papers():
  assert FitConfig() == FitConfig(
    epochs=200, batch_size=128, learning_rate=0.01, momentum=0.9, augment=True
  )


def test_training_learns(undisturbed):
  _, outcome, _, progress = undisturbed
  assert not outcome.diverged
  assert (outcome.epochs, outcome.steps) == (3, 3 * STEPS)
  assert outcome.loss < 0.9 * progress[0].loss
  assert outcome.accuracy > 25
  assert outcome.seconds > 0


def test_progress_is_reported_every_twenty_steps(undisturbed):
  _, outcome, _, progress = undisturbed
  found = [(p.epoch, p.epochs, p.step, p.steps) for p in progress]
  assert found == [(e, 3, s, STEPS) for e in range(3) for s in (20, 40, STEPS)]
  last = progress[-1]
  assert (last.loss, last.accuracy) == (outcome.loss, outcome.accuracy)


def test_training_repeats_bit_by_bit(undisturbed, data, tmp_path):
  model, outcome = train(data, tmp_path)
  assert_same_weights(model, undisturbed[0])
  assert outcome.loss == undisturbed[1].loss


def test_another_seed_trains_other_weights(undisturbed, data, tmp_path):
  model, _ = train(data, tmp_path, seed=2)
  first = keras.params(model)["conv/kernel"]
  assert (first != keras.params(undisturbed[0])["conv/kernel"]).any()


@pytest.mark.parametrize(
  "stops", [[(1, 20)], [(2, STEPS)], [(0, 20), (1, STEPS)]]
)
def test_an_interrupted_training_ends_in_the_same_weights(
  stops, undisturbed, data, tmp_path
):
  for stop in stops:

    def report(progress, stop=stop):
      if (progress.epoch, progress.step) == stop:
        raise Killed

    with pytest.raises(Killed):
      train(data, tmp_path, report)
  seen = []
  model, outcome = train(data, tmp_path, seen.append)
  assert seen[0].epoch == stops[-1][0]  # it did not begin anew
  assert_same_weights(model, undisturbed[0])
  wanted = undisturbed[1]
  assert (outcome.loss, outcome.accuracy, outcome.steps, outcome.epochs) == (
    wanted.loss,
    wanted.accuracy,
    wanted.steps,
    wanted.epochs,
  )


@pytest.fixture
def finished(undisturbed, tmp_path):
  """A copy of the folder of a finished training."""
  shutil.copytree(undisturbed[2], tmp_path, dirs_exist_ok=True)
  return tmp_path


def test_a_finished_training_is_not_repeated(finished, undisturbed, data):
  seen = []
  model, outcome = train(data, finished, seen.append)
  assert seen == []
  assert outcome == undisturbed[1]
  assert_same_weights(model, undisturbed[0])


def checkpoint_files(folder):
  return sorted((folder / "checkpoints").iterdir())


def test_one_checkpoint_is_kept(finished):
  names = [path.name for path in checkpoint_files(finished)]
  assert names == [
    "checkpoint",
    "ckpt-3.data-00000-of-00001",
    "ckpt-3.index",
  ]


@pytest.mark.parametrize("name", ["data", "index"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "garbled"])
def test_a_damaged_checkpoint_is_named(name, damage, finished, data):
  (path,) = (p for p in checkpoint_files(finished) if name in p.suffix)
  content = path.read_bytes()
  if damage == "missing":
    path.unlink()
  elif damage == "garbled":
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b"garbage!" + content[middle + 8 :])
  else:
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
  with pytest.raises(CheckpointError, match="delete that folder") as caught:
    train(data, finished)
  assert str(finished) in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_net_is_named(finished, data):
  with pytest.raises(CheckpointError, match="damaged"):
    fit(fresh_model(filters=4), data, CONFIG, str(finished))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00"])
def test_a_damaged_list_of_checkpoints_never_gives_other_weights(
  content, finished, undisturbed, data
):
  (finished / "checkpoints" / "checkpoint").write_bytes(content)
  try:
    model, _ = train(data, finished)
  except CheckpointError:
    return
  assert_same_weights(model, undisturbed[0])


def test_exploding_losses_end_the_training_as_diverged(data, tmp_path):
  seen = []
  _, outcome = train(data, tmp_path, seen.append, learning_rate=1e30)
  assert outcome.diverged and not math.isfinite(outcome.loss)
  assert (outcome.epochs, outcome.steps) == (1, 20)
  assert [p.step for p in seen] == [20]  # the first look at the loss
  again = []
  _, second = train(data, tmp_path, again.append, learning_rate=1e30)
  assert second.diverged and again == []


def test_chance_accuracy_ends_the_training_at_half_time(data, tmp_path):
  _, outcome = train(data, tmp_path, epochs=4, learning_rate=0.0)
  assert outcome.diverged and math.isfinite(outcome.loss)
  assert outcome.accuracy < 15
  assert outcome.epochs == 2


def test_patience_is_ten_epochs_at_most(data, tmp_path):
  small = dataclasses.replace(
    data, train_images=data.train_images[:32], train_labels=np.arange(32) % 10
  )
  config = {"epochs": 100, "batch_size": 32, "learning_rate": 0.0}
  _, outcome = train(small, tmp_path, **config)
  assert outcome.diverged and outcome.epochs == 10


def test_the_step_is_traced_once(data, tmp_path, monkeypatch):
  traces = []
  loss = tf.nn.sparse_softmax_cross_entropy_with_logits

  def counted(*args, **kwargs):
    traces.append(1)
    return loss(*args, **kwargs)

  monkeypatch.setattr(
    tf.nn, "sparse_softmax_cross_entropy_with_logits", counted
  )
  train(data, tmp_path)
  assert len(traces) == 1


def test_the_first_step_is_sgd_by_hand(data, tmp_path):
  # One batch of the whole set without dropout: w - rate * gradient.
  spec = NetSpec(
    (32, 32, 3),
    (
      Node("pool", ops.GlobalPool(), (INPUT,)),
      Node("logits", ops.Dense(10), ("pool",)),
    ),
  )
  model = keras.build(spec)
  start = initial_params(spec, "he_uniform", 0)
  keras.assign(model, start)
  count = len(data.train_labels)
  config = FitConfig(1, count, learning_rate=0.5, augment=False)
  fit(model, data, config, str(tmp_path))
  x = data.train_images.mean((1, 2)) / 255
  logits = x @ start["logits/kernel"]
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  error = (p - np.eye(10)[data.train_labels]) / count
  found = keras.params(model)
  np.testing.assert_allclose(
    found["logits/kernel"],
    start["logits/kernel"] - 0.5 * x.T @ error,
    atol=1e-6,
  )
  np.testing.assert_allclose(
    found["logits/bias"], -0.5 * error.sum(0), atol=1e-6
  )


def test_momentum_carries_over_a_restart(data, tmp_path):
  # Without its velocity the second epoch would go another way.
  results = []
  for folder, stop in (("whole", None), ("halves", (1, STEPS))):

    def report(progress, stop=stop):
      if (progress.epoch, progress.step) == stop:
        raise Killed

    config = {"epochs": 2, "momentum": 0.99}
    if stop:
      with pytest.raises(Killed):
        train(data, tmp_path / folder, report, **config)
    results.append(train(data, tmp_path / folder, **config)[0])
  assert_same_weights(*results)


def test_logs_hold_loss_accuracy_and_rate_of_each_epoch(undisturbed):
  from tensorflow.python.summary.summary_iterator import summary_iterator

  (path,) = Path(undisturbed[2], "logs").iterdir()
  found = {}
  for event in summary_iterator(str(path)):
    for value in event.summary.value:
      found.setdefault(value.tag, {})[event.step] = float(
        tf.make_ndarray(value.tensor)
      )
  assert set(found) == {"loss", "accuracy", "learning_rate"}
  assert list(found["loss"]) == [1, 2, 3]
  assert found["loss"][3] == pytest.approx(undisturbed[1].loss)
  assert found["learning_rate"] == pytest.approx(
    {1: 0.01, 2: 0.001, 3: 0.0001}, rel=1e-6
  )


def test_predict_gives_the_logits_of_inference(undisturbed, data):
  model = undisturbed[0]
  images = data.test_images.astype(np.float32) / 255
  wanted = model(images, training=False).numpy()
  found = predict(model, images, batch=16)  # 50 images: the last batch is short
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_nothing_is_written_outside_the_folder(finished):
  assert sorted(os.listdir(finished)) == ["checkpoints", "logs"]
