"""A low-precision hypernetwork as a file.

An npz with `meta` (JSON: configuration, formats, exponents of the vectors,
fraction bits of the matrices) and every weight: the codes of a matrix, n bits
each, so that the bytes are the model's bits, and float32 for the rest.
"""

import dataclasses
import os
import zipfile

import numpy as np
import tensorflow as tf

from qinit.errors import CheckpointError
from qinit.ghn.config import GhnConfig
from qinit.ghn.weights import weight_shapes
from qinit.lpgnas.formats import parse
from qinit.lpgnas.hypernet import Rounded, Searched, matrices
from qinit.lpgnas.integer_file import (
  pack,
  read_arrays,
  unpack,
  write_arrays,
)
from qinit.lpgnas.quantise import split


def write(path: str | os.PathLike, ghn: Searched) -> None:
  """Writes the file, whole or not at all."""
  precision, fractions = ghn.precision, {}
  arrays = {name: w.numpy() for name, w in ghn.weights.items()}
  for name in matrices(ghn.config):
    fmt = parse(precision[name])
    codes, f = split(tf.constant(arrays[name]), fmt)
    fractions[name] = int(f)
    arrays[name] = pack(codes.numpy().astype(np.int64), fmt)
  meta = {
    "config": dataclasses.asdict(ghn.config),
    "precision": precision,
    "exponents": dict(ghn.exponents),
    "fractions": fractions,
  }
  write_arrays(path, meta, arrays)


def read(path: str | os.PathLike) -> Rounded:
  """The hypernetwork in a file, its matrices as the values of their codes.

  Raises:
    CheckpointError: if it is damaged or another file.
  """
  try:
    meta, arrays = read_arrays(path)
    config, precision = GhnConfig(**meta["config"]), meta["precision"]
    weights = {name: arrays[name] for name in weight_shapes(config)}
    for name, shape in matrices(config).items():
      codes = unpack(weights[name], parse(precision[name]), shape)
      weights[name] = np.ldexp(np.float32(codes), -meta["fractions"][name])
    ghn = Rounded(config, weights, meta["exponents"])
    ghn.precision = precision
    return ghn
  except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as e:
    raise CheckpointError(
      f"{path} is no low-precision hypernetwork or damaged ({e}): export it"
      " anew"
    ) from None


def weight_bytes(path: str | os.PathLike) -> int:
  """Bytes of the weights in the file: the model's bits, each matrix filled up
  to a whole byte."""
  _, arrays = read_arrays(path)
  return sum(array.nbytes for array in arrays.values())
