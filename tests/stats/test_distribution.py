import numpy as np
import pytest

from qinit.errors import RunError
from qinit.stats import distribution


def test_histogram_by_hand():
  found = distribution.histogram([-9, 0.1, 0.6, 0.7, 1.0, 9], 0, 1, bins=2)
  assert found.edges.tolist() == [0, 0.5, 1]
  assert found.counts.tolist() == [2, 4]


def test_coarser_adds_neighbours():
  fine = distribution.histogram(np.arange(8) + 0.5, 0, 8, bins=8)
  coarse = fine.coarser(2)
  assert coarse.edges.tolist() == [0, 4, 8]
  assert coarse.counts.tolist() == [4, 4]


def test_file_round_trip_keeps_the_order(tmp_path):
  path = tmp_path / "distributions.npz"
  one = distribution.histogram([1, 2, 3], 0, 4)
  wanted = {("weight", "z"): one, ("activation", "a/b"): one}
  distribution.write_distributions(path, wanted)
  found = distribution.read_distributions(path)
  assert list(found) == list(wanted)
  np.testing.assert_array_equal(found["weight", "z"].counts, one.counts)
  np.testing.assert_array_equal(found["weight", "z"].edges, one.edges)


def test_a_damaged_file_is_named(tmp_path):
  path = tmp_path / "distributions.npz"
  one = distribution.histogram([1, 2, 3], 0, 4)
  distribution.write_distributions(path, {("weight", "a"): one})
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(RunError, match="is damaged"):
    distribution.read_distributions(path)
