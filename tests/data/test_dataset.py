import numpy as np
import pytest

from qinit.data import catalogue, dataset, digits
from qinit.errors import DataError, QinitError


@pytest.fixture(scope="module")
def data():
  return digits.dataset()


def test_digits_are_split_four_to_one(data):
  # 1,797 images ship with scikit-learn.
  assert data.train_images.shape == (1438, 32, 32, 3)
  assert data.test_images.shape == (359, 32, 32, 3)
  assert data.train_labels.shape == (1438,)
  assert data.test_labels.shape == (359,)


def test_digits_are_uint8_over_the_whole_range(data):
  assert data.train_images.dtype == data.test_images.dtype == np.uint8
  assert (data.train_images.min(), data.train_images.max()) == (0, 255)
  assert data.train_labels.dtype == np.int64


def test_no_digit_is_in_both_splits_and_none_is_lost(data):
  from sklearn.datasets import load_digits

  def shrunk(images):
    return [
      tuple((image[::4, ::4, 0] / 255 * 16).round().ravel().tolist())
      for image in images
    ]

  original = sorted(map(tuple, load_digits().data.tolist()))
  found = shrunk(data.train_images) + shrunk(data.test_images)
  assert sorted(found) == original


def test_labels_go_with_their_digits(data):
  from sklearn.datasets import load_digits

  source = load_digits()
  labels = {
    tuple(row): label
    for row, label in zip(source.data.tolist(), source.target, strict=True)
  }
  for image, label in zip(data.test_images, data.test_labels, strict=True):
    small = tuple((image[::4, ::4, 0] / 255 * 16).round().ravel().tolist())
    assert labels[small] == label


def test_a_pixel_becomes_a_grey_square_of_four(data):
  blocks = data.test_images.reshape(-1, 8, 4, 8, 4, 3)
  assert (blocks == blocks[:, :, :1, :, :1, :1]).all()


def test_both_splits_hold_every_class(data):
  for labels in (data.train_labels, data.test_labels):
    counts = np.bincount(labels)
    assert len(counts) == data.num_classes == 10
    assert counts.min() > 0.06 * len(labels)


def test_digits_are_the_same_every_time(data):
  again = catalogue.load("digits")
  np.testing.assert_array_equal(again.test_images, data.test_images)
  np.testing.assert_array_equal(again.train_labels, data.train_labels)


def test_digits_are_never_mirrored(data):
  assert not data.augmentation.flips


def test_scaled_is_zero_to_one():
  images = np.array([0, 51, 255], np.uint8)
  found = dataset.scaled(images)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, np.float32([0, 0.2, 1]))


def test_unknown_data_set():
  with pytest.raises(QinitError, match=r"unknown data set 'cifar': .*cifar10"):
    catalogue.load("cifar")


def test_count():
  dataset.check_count("X", range(3), 3)
  with pytest.raises(
    DataError, match=r"X has 2 images instead of 3.*truncated"
  ):
    dataset.check_count("X", range(2), 3)
