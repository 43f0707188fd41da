import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from qinit.data import cifar10
from qinit.errors import DataError
from tests.cifar10 import folder

_FILE = "cifar10-test.tfrecord-00000-of-00001"


@pytest.fixture(scope="module")
def source():
  """A TFDS folder in which CIFAR-10 lies prepared."""
  return Path(folder())


@pytest.fixture
def copy(source, tmp_path):
  """A copy without the training images; returns the folder of the files."""
  (version,) = (source / "cifar10").iterdir()
  target = tmp_path / "cifar10" / version.name
  target.mkdir(parents=True)
  for file in version.iterdir():
    if "train" not in file.name:
      shutil.copyfile(file, target / file.name)
  return target


@pytest.fixture
def no_network(monkeypatch):
  import socket

  def refuse(*args, **kwargs):
    raise OSError("no network in this test")

  monkeypatch.setattr(socket, "getaddrinfo", refuse)
  monkeypatch.setattr(socket.socket, "connect", refuse)
  for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
    monkeypatch.delenv(name, raising=False)


def load(folder, split="test"):
  return cifar10.load(str(folder), split)


def truncate(path, share):
  content = path.read_bytes()
  path.write_bytes(content[: int(share * len(content))])


def test_test_images(source):
  images, labels = load(source)
  assert images.shape == (10_000, 32, 32, 3) and images.dtype == np.uint8
  assert labels.dtype == np.int64
  assert np.bincount(labels).tolist() == [1000] * 10
  # The mean colour of the test set is published everywhere. A copy stored as
  # JPEG keeps green, which brightness follows, and loses a level of the rest.
  red, green, blue = images.mean((0, 1, 2)) / 255
  assert green == pytest.approx(0.4851, abs=5e-4)
  assert [red, blue] == pytest.approx([0.4942, 0.4504], abs=1.5 / 255)


@pytest.mark.parametrize("share", [0.5, 0.0, 0.99999])
def test_a_truncated_file_is_named(copy, share):
  truncate(copy / _FILE, share)
  with pytest.raises(DataError, match=r"is damaged \(\w+: \w") as caught:
    load(copy.parent.parent)
  assert "\n" not in str(caught.value) and str(copy) in str(caught.value)


def test_a_file_cut_between_two_images_is_noticed(copy):
  # A TFRecord: 8 bytes of length, 4 of checksum, the data, 4 of checksum.
  content = (copy / _FILE).read_bytes()
  length = int.from_bytes(content[:8], "little")
  (copy / _FILE).write_bytes(content[: length + 16])
  with pytest.raises(DataError, match="is damaged"):
    load(copy.parent.parent)


def test_a_flipped_byte_is_noticed(copy):
  with open(copy / _FILE, "r+b") as file:
    file.seek(5000)
    byte = file.read(1)[0]
    file.seek(5000)
    file.write(bytes([byte ^ 0xFF]))
  with pytest.raises(DataError, match="is damaged"):
    load(copy.parent.parent)


def test_a_missing_split_is_noticed(copy):
  with pytest.raises(DataError, match=r"is damaged.*place it anew"):
    load(copy.parent.parent, "train")


def test_damaged_metadata_are_noticed(copy, no_network):
  truncate(copy / "dataset_info.json", 0.5)
  with pytest.raises(DataError, match="--dataset=digits"):
    load(copy.parent.parent)


def test_no_data_and_no_network(tmp_path, no_network):
  folder = tmp_path / "nothing here"
  start = time.monotonic()
  with pytest.raises(DataError) as caught:
    load(folder)
  assert time.monotonic() - start < 20  # TFDS alone tries for minutes
  message = str(caught.value)
  assert "\n" not in message and str(folder) in message
  assert "--dataset=digits" in message and "--data_dir" in message
