"""A trained low-precision network as a file of integers.

An npz with `meta` (JSON: architecture, precision, fraction bits of every
tensor) and for every parameter its codes: those of n bits are packed, n bits
each, so that the bytes are the model's bits; biases are int32.
"""

import dataclasses
import io
import json
import os
import zipfile

import numpy as np

from qinit.errors import CheckpointError
from qinit.files import write_bytes
from qinit.lpgnas.formats import Format
from qinit.lpgnas.space import (
  Architecture,
  Precision,
  format_of,
  param_shapes,
)


@dataclasses.dataclass(frozen=True)
class IntegerModel:
  """Everything that integer inference needs.

  Attributes:
    codes: int64 codes of every parameter.
    fractions: fraction bits of every parameter and stored tensor.
  """

  arch: Architecture
  precision: Precision
  num_features: int
  num_classes: int
  codes: dict[str, np.ndarray]
  fractions: dict[str, int]

  def format_of(self, name: str) -> Format:
    return format_of(self.precision, name)


def write(path: str | os.PathLike, model: IntegerModel) -> None:
  """Writes the file, whole or not at all."""
  meta = {
    "arch": model.arch.to_dict(),
    "precision": model.precision,
    "num_features": model.num_features,
    "num_classes": model.num_classes,
    "fractions": model.fractions,
  }
  arrays = {
    name: pack(codes, model.format_of(name))
    for name, codes in model.codes.items()
  }
  write_arrays(path, meta, arrays)


def read(path: str | os.PathLike) -> IntegerModel:
  """The model in a file.

  Raises:
    CheckpointError: if it is damaged or another file.
  """
  try:
    meta, arrays = read_arrays(path)
    arch = Architecture.from_dict(meta["arch"])
    sizes = meta["num_features"], meta["num_classes"]
    precision, fractions = meta["precision"], meta["fractions"]
    codes = {
      name: unpack(arrays[name], format_of(precision, name), shape)
      for name, shape in param_shapes(arch, *sizes).items()
    }
  except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as e:
    raise CheckpointError(
      f"{path} is no integer model or damaged ({e}): export it anew"
    ) from None
  return IntegerModel(arch, precision, *sizes, codes, fractions)


def write_arrays(path: str | os.PathLike, meta: dict, arrays: dict) -> None:
  """Writes an npz of `arrays` and, as JSON, `meta`, whole or not at all."""
  buffer = io.BytesIO()
  text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
  np.savez(buffer, allow_pickle=False, meta=text, **arrays)
  write_bytes(path, buffer.getvalue())


def read_arrays(path: str | os.PathLike) -> tuple[dict, dict]:
  """What `write_arrays` wrote; NumPy, json and zipfile raise for other
  files."""
  with np.load(path, allow_pickle=False) as file:
    arrays = {name: file[name] for name in file.files}
  return json.loads(arrays.pop("meta").tobytes()), arrays


def code_bytes(model: IntegerModel) -> int:
  """Bytes of the codes in the file: the model's bits, each parameter's filled
  up to a whole byte."""
  return sum(
    pack(codes, model.format_of(name)).nbytes
    for name, codes in model.codes.items()
  )


def pack(codes: np.ndarray, fmt: Format) -> np.ndarray:
  """uint8: n bits per code, the last byte filled up; int32 for 32 bits."""
  if fmt.bits == 32:
    return codes.astype(np.int32)
  least, _ = fmt.range
  step = 2 if fmt.kind == "binary" else 1
  unsigned = ((codes.ravel() - least) // step).astype(np.uint16)
  places = np.arange(fmt.bits, dtype=np.uint16)
  return np.packbits((unsigned[:, None] >> places & 1).astype(np.uint8))


def unpack(packed: np.ndarray, fmt: Format, shape: tuple[int, ...]):
  """The inverse of `pack`, as int64."""
  if fmt.bits == 32:
    return packed.reshape(shape).astype(np.int64)
  count = int(np.prod(shape))
  if packed.dtype != np.uint8 or packed.size != -(-count * fmt.bits // 8):
    raise ValueError("codes of another length")
  bits = np.unpackbits(packed, count=count * fmt.bits)
  places = np.arange(fmt.bits, dtype=np.int64)
  unsigned = (bits.reshape(count, fmt.bits).astype(np.int64) << places).sum(1)
  step = 2 if fmt.kind == "binary" else 1
  return (unsigned * step + fmt.range[0]).reshape(shape)
