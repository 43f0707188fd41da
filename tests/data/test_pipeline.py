import numpy as np
import pytest

from qinit.data.augment import Augmentation
from qinit.data.pipeline import epoch_batches

COUNT = 23


@pytest.fixture
def numbered():
  """Images that carry their own label in the first pixel."""
  images = np.zeros((COUNT, 8, 8, 3), np.uint8)
  images[:, 0, 0, 0] = np.arange(COUNT)
  return images, np.arange(COUNT)


def epoch(data, seed=0, number=0, batch=5, augmentation=None):
  batches = epoch_batches(*data, batch, augmentation, seed, number)
  return [(x.numpy(), y.numpy()) for x, y in batches]


def order(batches):
  return np.concatenate([y for _, y in batches]).tolist()


def test_an_epoch_repeats_no_image(numbered):
  batches = epoch(numbered)
  assert [len(y) for _, y in batches] == [5] * 4  # the partial one is dropped
  assert len(set(order(batches))) == 20


def test_a_whole_epoch_is_a_permutation(numbered):
  assert sorted(order(epoch(numbered, batch=COUNT))) == list(range(COUNT))


def test_what_is_dropped_changes_with_the_epoch(numbered):
  seen = [set(order(epoch(numbered, number=n))) for n in range(8)]
  assert set.union(*seen) == set(range(COUNT))


def test_images_and_labels_stay_together_in_zero_to_one(numbered):
  for x, y in epoch(numbered):
    assert x.dtype == np.float32 and y.dtype == np.int64
    np.testing.assert_array_equal(x[:, 0, 0, 0], y.astype(np.float32) / 255)


def test_white_is_exactly_one():
  white = np.full((4, 8, 8, 3), 255, np.uint8)
  ((x, _),) = epoch((white, np.zeros(4, np.int64)), batch=4)
  assert (x == 1.0).all()


def test_the_order_is_a_function_of_seed_and_epoch(numbered):
  orders = {
    (seed, number): tuple(order(epoch(numbered, seed, number)))
    for seed in range(3)
    for number in range(3)
  }
  assert len(set(orders.values())) == 9
  assert tuple(order(epoch(numbered, 1, 2))) == orders[1, 2]


def test_augmentation_is_a_function_of_seed_and_epoch(rng):
  data = rng.integers(0, 256, (COUNT, 8, 8, 3), np.uint8), np.arange(COUNT)

  def images(seed, number):
    batches = epoch(data, seed, number, COUNT, Augmentation())
    ((x, y),) = batches
    return x[np.argsort(y)]

  first = images(0, 0)
  np.testing.assert_array_equal(first, images(0, 0))
  assert np.abs(first - images(0, 1)).max() > 0.1
  assert np.abs(first - images(1, 0)).max() > 0.1
  assert first.min() >= 0 and first.max() <= 1


def test_batches_of_an_epoch_are_augmented_differently():
  image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
  data = np.repeat(image, 8, 0), np.arange(8)
  (first, _), (second, _) = epoch(data, batch=4, augmentation=Augmentation())
  assert np.abs(first - second).max() > 0.01


def test_fewer_images_than_a_batch_make_one_batch(numbered):
  (batch,) = epoch(numbered, batch=100)
  assert sorted(batch[1].tolist()) == list(range(COUNT))


def test_no_thread_tunes_what_is_fixed(numbered):
  """The end of an epoch would often wait for it, up to two seconds."""
  batches = epoch_batches(*numbered, 5, None, 0, 0)
  assert batches.options().autotune.enabled is False
