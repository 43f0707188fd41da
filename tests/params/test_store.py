import os

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qinit.errors import CheckpointError
from qinit.params import store


@pytest.fixture
def params(rng):
  return {
    "stem/kernel": rng.normal(size=(3, 3, 3, 8)).astype(np.float32),
    "bn.1/moving_mean": np.arange(8, dtype=np.float32),
    "scalar/step": np.int64(7),
  }


def assert_same(found, wanted):
  assert set(found) == set(wanted)
  for key, value in wanted.items():
    assert found[key].dtype == value.dtype
    np.testing.assert_array_equal(found[key], value)


def test_what_is_saved_is_loaded(params, tmp_path):
  store.save(tmp_path / "p.npz", params)
  assert_same(store.load(tmp_path / "p.npz"), params)


def test_tensors_are_saved_as_arrays(tmp_path):
  store.save(tmp_path / "p.npz", {"a/kernel": tf.constant([1.0, 2.0])})
  assert store.load(tmp_path / "p.npz")["a/kernel"].tolist() == [1, 2]


def test_the_name_needs_no_suffix(params, tmp_path):
  store.save(tmp_path / "weights", params)
  assert os.listdir(tmp_path) == ["weights"]
  assert_same(store.load(tmp_path / "weights"), params)


def test_it_overwrites(params, tmp_path):
  path = tmp_path / "p.npz"
  store.save(path, {"a/kernel": np.zeros(3)})
  store.save(path, params)
  assert_same(store.load(path), params)


def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(
  params, tmp_path, monkeypatch
):
  path = tmp_path / "p.npz"
  store.save(path, params)

  def full_disk(file, **arrays):
    file.write(b"PK")
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(np, "savez", full_disk)
  with pytest.raises(OSError, match="No space"):
    store.save(path, {"a/kernel": np.zeros(3)})
  assert os.listdir(tmp_path) == ["p.npz"]
  assert_same(store.load(path), params)


@pytest.mark.parametrize(
  "content",
  [
    pytest.param(b"", id="empty"),
    pytest.param(b"not a zip file", id="text"),
    pytest.param(b"PK\x03\x04 and no more", id="cut"),
  ],
)
def test_a_damaged_file_is_named(content, tmp_path):
  path = tmp_path / "p.npz"
  path.write_bytes(content)
  with pytest.raises(CheckpointError, match=r"p\.npz.*delete the file"):
    store.load(path)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(CheckpointError, match=r"gone\.npz"):
    store.load(tmp_path / "gone.npz")


def test_a_bare_array_is_no_checkpoint(tmp_path):
  np.save(tmp_path / "p.npy", np.zeros(3))
  with pytest.raises(CheckpointError):
    store.load(tmp_path / "p.npy")


def test_pickles_are_refused(tmp_path):
  np.savez(tmp_path / "p.npz", a=np.array([{"a": 1}], dtype=object))
  with pytest.raises(CheckpointError):
    store.load(tmp_path / "p.npz")


@given(data=st.data())
@settings(
  deadline=None,
  max_examples=150,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_flipped_byte_is_found_or_harmless(data, params, tmp_path):
  path = tmp_path / "p.npz"
  store.save(path, params)
  content = bytearray(path.read_bytes())
  at = data.draw(st.integers(0, len(content) - 1))
  content[at] ^= data.draw(st.integers(1, 255))
  path.write_bytes(content)
  try:
    found = store.load(path)
  except CheckpointError:
    return
  # What the checksums do not cover: dates, and the directory's names.
  for key in set(found) & set(params):
    np.testing.assert_array_equal(found[key], params[key])


@given(share=st.floats(0, 0.999))
@settings(
  deadline=None,
  max_examples=40,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_truncated_file_is_found(share, params, tmp_path):
  path = tmp_path / "p.npz"
  store.save(path, params)
  content = path.read_bytes()
  path.write_bytes(content[: int(share * len(content))])
  with pytest.raises(CheckpointError):
    store.load(path)
