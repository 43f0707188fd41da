import numpy as np
import pytest
import tensorflow as tf

from qinit.data import augment as module
from qinit.data.augment import Augmentation, augment

NOTHING = Augmentation(shift=0.0, zoom=0.0, rotation=0.0, flips=False)
SEED = (1, 2)


@pytest.fixture
def images(rng):
  return rng.uniform(0, 1, (64, 9, 9, 3)).astype(np.float32)


def run(images, seed=SEED, **amounts):
  amounts = {"shift": 0.0, "zoom": 0.0, "rotation": 0.0, "flips": False} | (
    amounts
  )
  return augment(tf.constant(images), Augmentation(**amounts), seed).numpy()


@pytest.fixture
def noise(monkeypatch):
  """Sets the six random numbers in -1..1 of every image: angle, zoom, shifts
  down and right, flips left-right and top-bottom."""

  def fix(*values):
    monkeypatch.setattr(
      tf.random,
      "stateless_uniform",
      lambda shape, *_: tf.tile(
        tf.constant([values], tf.float32), [shape[0], 1]
      ),
    )

  return fix


def test_zero_amounts_are_the_identity(images):
  np.testing.assert_array_equal(run(images), images)


def test_flips_are_exact_and_come_in_four_kinds_evenly(images):
  found = run(images, flips=True)
  kinds = {
    "none": images,
    "left-right": images[:, :, ::-1],
    "top-bottom": images[:, ::-1],
    "both": images[:, ::-1, ::-1],
  }
  same = np.array(
    [
      np.isclose(found, kind, atol=1e-6).all((1, 2, 3))
      for kind in kinds.values()
    ]
  )
  assert (same.sum(0) == 1).all()
  # 16 of 64 each, give or take five standard deviations.
  assert np.abs(same.sum(1) - 16).max() <= 5 * np.sqrt(64 * 3 / 16)


def test_each_axis_has_its_own_flip(images, noise):
  noise(0, 0, 0, 0, -1, 1)
  np.testing.assert_allclose(
    run(images, flips=True), images[:, :, ::-1], atol=1e-6
  )
  noise(0, 0, 0, 0, 1, -1)
  np.testing.assert_allclose(
    run(images, flips=True), images[:, ::-1], atol=1e-6
  )


def test_a_random_zero_flips_nothing(images, noise):
  noise(0, 0, 0, 0, 0, 0)
  np.testing.assert_array_equal(run(images, flips=True), images)


def test_a_shift_repeats_the_edge(images, noise):
  noise(0, 0, 1, 0, 0, 0)  # two of nine rows, looking further down
  found = run(images, shift=2 / 9)
  np.testing.assert_allclose(found[:, :-2], images[:, 2:], atol=1e-5)
  for row in (-1, -2):
    np.testing.assert_allclose(found[:, row], images[:, -1], atol=1e-5)
  noise(0, 0, 0, -1, 0, 0)
  found = run(images, shift=1 / 9)
  np.testing.assert_allclose(found[:, :, 1:], images[:, :, :-1], atol=1e-5)
  np.testing.assert_allclose(found[:, :, 0], images[:, :, 0], atol=1e-5)


def test_a_shift_of_half_a_pixel_is_the_mean_of_two(images, noise):
  noise(0, 0, 0, 0.5, 0, 0)
  found = run(images, shift=1 / 9)
  wanted = (images[:, :, :-1] + images[:, :, 1:]) / 2
  np.testing.assert_allclose(found[:, :, :-1], wanted, atol=1e-5)


@pytest.mark.parametrize("sign, turns", [(1, 1), (-1, -1)])
def test_a_quarter_turn(images, noise, sign, turns):
  # out(x, y) = in(-y, x) about the centre: counter-clockwise on the screen.
  noise(sign, 0, 0, 0, 0, 0)
  found = run(images, rotation=90.0)
  wanted = np.rot90(images, turns, axes=(1, 2))
  np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_rotation_moves_a_dot_by_its_angle(noise):
  image = np.zeros((1, 41, 41, 1), np.float32)
  image[0, 20, 36] = 1.0  # 16 to the right of the centre
  noise(1, 0, 0, 0, 0, 0)
  found = run(image, rotation=15.0)[0, :, :, 0]
  rows, columns = np.mgrid[:41, :41]
  centre = [(found * axis).sum() / found.sum() - 20 for axis in (columns, rows)]
  wanted = [16 * np.cos(np.pi / 12), -16 * np.sin(np.pi / 12)]
  np.testing.assert_allclose(centre, wanted, atol=0.2)


def test_zoom_scales_about_the_centre(noise):
  ramp = np.arange(9, dtype=np.float32)
  image = np.tile(ramp[None, None, :, None], (1, 9, 1, 1))
  noise(0, -1, 0, 0, 0, 0)  # input = 0.5 (output - 4) + 4
  found = run(image, zoom=0.5)[0, 0, :, 0]
  np.testing.assert_allclose(found, 0.5 * (ramp - 4) + 4, atol=1e-5)


def test_amounts_bound_the_transforms():
  noise = tf.random.stateless_uniform([4000, 6], (3, 4), -1, 1)
  amounts = Augmentation(shift=0.1, zoom=0.2, rotation=15.0, flips=False)
  t = module._transforms(amounts, noise, tf.constant([20.0, 20.0])).numpy()
  scale = np.hypot(t[:, 0], t[:, 1])
  angle = np.degrees(np.arctan2(t[:, 3], t[:, 0]))
  middle = t[:, [0, 1, 3, 4]].reshape(-1, 2, 2) @ [9.5, 9.5] + t[:, [2, 5]]
  for values, low, high in (
    (scale, 0.8, 1.2),
    (angle, -15.0, 15.0),
    (middle[:, 0], 7.5, 11.5),
    (middle[:, 1], 7.5, 11.5),
  ):
    margin = 0.01 * (high - low)
    assert low - 1e-4 <= values.min() < low + margin
    assert high - margin < values.max() <= high + 1e-4


def test_the_default_amounts_are_the_studys():
  assert Augmentation() == Augmentation(0.1, 0.1, 15.0, True)


def test_it_is_a_function_of_the_seed(images):
  amounts = {"shift": 0.1, "zoom": 0.1, "rotation": 15.0, "flips": True}
  first = run(images, **amounts)
  np.testing.assert_array_equal(first, run(images, **amounts))
  assert np.abs(first - run(images, (1, 3), **amounts)).max() > 0.1


def test_every_image_is_transformed_on_its_own(rng):
  image = rng.uniform(0, 1, (1, 9, 9, 3)).astype(np.float32)
  found = run(np.repeat(image, 32, 0), shift=0.1, rotation=15.0)
  distances = np.abs(found[:, None] - found[None]).max((2, 3, 4))
  assert (distances[~np.eye(32, dtype=bool)] > 1e-3).all()


def test_values_stay_in_the_images_range(images):
  found = run(images, shift=0.3, zoom=0.5, rotation=90.0, flips=True)
  assert found.min() >= images.min() - 1e-6
  assert found.max() <= images.max() + 1e-6
