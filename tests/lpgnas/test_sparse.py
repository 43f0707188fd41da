"""Products with sparse matrices against dense ones in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from qinit.lpgnas.sparse import Pattern, at_columns, at_rows, dots, product

SHAPE, HEADS, WIDTH = (5, 7), 3, 2


@pytest.fixture
def setting(rng):
  """A pattern whose rows and columns may be empty, the last row apart, with
  values [E, H] and dense [M, N, H]."""
  there = rng.random(SHAPE) < 0.4
  there[2], there[:, 3], there[-1, 0] = False, False, True
  rows, columns = np.nonzero(there)
  values = rng.normal(size=[len(rows), HEADS]).astype(np.float32)
  dense = np.zeros([*SHAPE, HEADS], np.float32)
  dense[rows, columns] = values
  return Pattern.of(rows, columns, SHAPE, HEADS), values, dense


def states(rng, count):
  return rng.normal(size=[count, HEADS, WIDTH]).astype(np.float32)


def gradients(function, inputs, dy):
  inputs = [tf.constant(x) for x in inputs]
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    y = function(*inputs)
  return y, tape.gradient(y, inputs, tf.constant(dy))


def test_product(setting, rng):
  pattern, values, dense = setting
  x, dy = states(rng, SHAPE[1]), states(rng, SHAPE[0])
  y, (to_values, to_x) = gradients(
    lambda values, x: product(pattern, values, x), [values, x], dy
  )
  np.testing.assert_allclose(y, np.einsum("mnh,nhc->mhc", dense, x), atol=1e-5)
  np.testing.assert_allclose(
    to_x, np.einsum("mnh,mhc->nhc", dense, dy), atol=1e-5
  )
  everywhere = np.einsum("mhc,nhc->mnh", dy, x)
  rows, columns = pattern.rows.numpy(), pattern.columns.numpy()
  np.testing.assert_allclose(to_values, everywhere[rows, columns], atol=1e-5)


def test_dots(setting, rng):
  pattern, dy, dense = setting
  x, y = states(rng, SHAPE[0]), states(rng, SHAPE[1])
  found, (to_x, to_y) = gradients(lambda x, y: dots(pattern, x, y), [x, y], dy)
  rows, columns = pattern.rows.numpy(), pattern.columns.numpy()
  everywhere = np.einsum("mhc,nhc->mnh", x, y)
  np.testing.assert_allclose(found, everywhere[rows, columns], atol=1e-5)
  np.testing.assert_allclose(
    to_x, np.einsum("mnh,nhc->mhc", dense, y), atol=1e-5
  )
  np.testing.assert_allclose(
    to_y, np.einsum("mnh,mhc->nhc", dense, x), atol=1e-5
  )


@pytest.mark.parametrize("read, axis", [(at_rows, 0), (at_columns, 1)])
def test_what_is_read_along_the_entries(setting, rng, read, axis):
  pattern, _, _ = setting
  places = (pattern.rows, pattern.columns)[axis].numpy()
  x = states(rng, SHAPE[axis])
  dy = states(rng, len(places))
  found, (to_x,) = gradients(lambda x: read(pattern, x), [x], dy)
  np.testing.assert_array_equal(found, x[places])
  expected = np.zeros_like(x)
  np.add.at(expected, places, dy)
  np.testing.assert_allclose(to_x, expected, atol=1e-5)
