"""CIFAR-10 through tensorflow-datasets."""

import re
import socket
import urllib.request

import numpy as np

from qinit.data.augment import Augmentation
from qinit.data.dataset import Dataset, check_count
from qinit.errors import DataError

_SIZES = {"train": 50_000, "test": 10_000}
_HOST = "www.cs.toronto.edu"


def dataset(data_dir: str | None = None) -> Dataset:
  """All of CIFAR-10 with the study's augmentation; raises DataError."""
  return Dataset(
    "cifar10",
    *load(data_dir, "train"),
    *load(data_dir, "test"),
    augmentation=Augmentation(),
  )


def load(data_dir: str | None, split: str) -> tuple[np.ndarray, np.ndarray]:
  """Images uint8 [N, 32, 32, 3] and labels int64 [N], in TFDS order.

  Args:
    data_dir: a TFDS data folder; None is TFDS' own (TFDS_DATA_DIR).

  Raises:
    DataError: if the data are neither there nor to be had, or are damaged.
  """
  builder = _prepared(data_dir)
  try:
    split_data = builder.as_dataset(split=split, batch_size=-1)
    images, labels = split_data["image"].numpy(), split_data["label"].numpy()
  except Exception as error:  # TFDS and TF raise many kinds here
    raise DataError(
      f"CIFAR-10 in {builder.data_path} is damaged"
      f" ({_first_line(error)}): place it anew, or use --dataset=digits"
    ) from None
  check_count(f"CIFAR-10 {split}", images, _SIZES[split])
  return images, labels.astype(np.int64)


def _prepared(data_dir):
  """The TFDS builder, downloading only where nothing is prepared."""
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder("cifar10", data_dir=data_dir)
    if not builder.is_prepared():
      _require_network()
      builder.download_and_prepare()
    return builder
  except Exception as error:  # no network, no permission, damaged metadata
    raise DataError(
      f"there is no CIFAR-10 in {data_dir or 'the TFDS data folder'} and it"
      f" could not be downloaded ({_first_line(error)}): put a prepared"
      " cifar10 folder there and name its parent with --data_dir, or use"
      " --dataset=digits, which needs no data"
    ) from None


def _require_network():
  """Raises OSError at once where TFDS would retry for minutes."""
  if not urllib.request.getproxies():
    socket.getaddrinfo(_HOST, 443)


def _first_line(error):
  text = re.sub(r"\{\{.*?\}\}", "", str(error))  # TensorFlow's op names
  lines = text.strip().splitlines()
  kind = type(error).__name__
  return f"{kind}: {lines[0].strip()[:120]}" if lines else kind
