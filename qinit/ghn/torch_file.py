"""Reads PyTorch's zip format without PyTorch, tensors and containers only.

A `.pt` file is an uncompressed zip with `data.pkl`, a pickle that names the
tensors, and one raw file per storage. A pickle may name any function for the
reader to call; this reader knows three names and refuses every other.
"""

import io
import math
import os
import pickle
import zipfile

import numpy as np

from qinit.errors import CheckpointError

_LARGEST_PICKLE = 1 << 24
_DTYPES = {
  "FloatStorage": "<f4",
  "DoubleStorage": "<f8",
  "HalfStorage": "<f2",
  "LongStorage": "<i8",
  "IntStorage": "<i4",
  "ShortStorage": "<i2",
  "CharStorage": "<i1",
  "ByteStorage": "<u1",
  "BoolStorage": "?",
}


def read(path: str | os.PathLike) -> dict:
  """The saved object with its tensors as arrays.

  Raises:
    CheckpointError: if the file is missing, damaged, compressed, or asks for
      anything but tensors, dicts, lists, tuples, strings and numbers.
  """
  path = os.fspath(path)
  try:
    with zipfile.ZipFile(path) as archive:
      return _Reader(archive).load()
  except CheckpointError as error:
    raise CheckpointError(f"{path} was refused: {error}") from None
  except OSError as error:
    raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
  except Exception as error:  # a hostile pickle can raise anything
    raise CheckpointError(
      f"{path} is not a PyTorch checkpoint, or is damaged ({error})"
    ) from None


class _OrderedDict(dict):
  """Stands for collections.OrderedDict; drops its attributes (_metadata)."""

  def __setstate__(self, state):
    pass


class _Reader(pickle.Unpickler):
  """An unpickler that can build nothing but what `find_class` admits."""

  def __init__(self, archive):
    self._entries = {i.filename: i for i in archive.infolist()}
    self._archive = archive
    pickles = [n for n in self._entries if n.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
      raise CheckpointError("it has no data.pkl")
    self._root = pickles[0].split("/")[0]
    if self._read("byteorder", b"little") != b"little":
      raise CheckpointError("its numbers are big-endian")
    super().__init__(io.BytesIO(self._read("data.pkl")))

  def find_class(self, module, name):
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      return _tensor
    if (module, name) == ("collections", "OrderedDict"):
      return _OrderedDict
    if module == "torch" and name in _DTYPES:
      return np.dtype(_DTYPES[name])
    raise CheckpointError(f"it asks for {module}.{name}, which is no tensor")

  def persistent_load(self, identity):
    kind, dtype, key, _, count = identity
    if kind != "storage" or not isinstance(dtype, np.dtype):
      raise CheckpointError("it refers to something that is no storage")
    data = np.frombuffer(self._read(f"data/{key}"), dtype)
    if len(data) < count:
      raise CheckpointError(f"storage {key} is truncated")
    return data

  def _read(self, name, default=None):
    entry = self._entries.get(f"{self._root}/{name}")
    if entry is None:
      if default is None:
        raise CheckpointError(f"{name} is missing")
      return default
    if entry.compress_type != zipfile.ZIP_STORED:
      raise CheckpointError(f"{name} is compressed")
    if name == "data.pkl" and entry.file_size > _LARGEST_PICKLE:
      raise CheckpointError(f"{name} is too large")
    return self._archive.read(entry)


def _tensor(storage, offset, size, stride, *_):
  """torch._utils._rebuild_tensor_v2 on an array."""
  numbers = (offset, *size, *stride)
  if not isinstance(storage, np.ndarray) or len(size) != len(stride):
    raise CheckpointError("a tensor is malformed")
  if any(type(n) is not int or n < 0 for n in numbers):
    raise CheckpointError("a tensor has a size that is no natural number")
  last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
  if math.prod(size) > len(storage) or last >= len(storage):
    raise CheckpointError("a tensor is larger than its storage")
  steps = [s * storage.itemsize for s in stride]
  view = np.lib.stride_tricks.as_strided(storage[offset:], size, steps)
  return view.copy()
