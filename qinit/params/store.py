"""Parameters on disk: one flat dict {"node/role": array} in an npz file."""

import os
import tempfile
from collections.abc import Mapping

import numpy as np

from qinit.errors import CheckpointError


def save(path: str | os.PathLike, params: Mapping) -> None:
  """Writes `params`; the file appears whole or not at all."""
  folder = os.path.dirname(os.path.abspath(path))
  handle, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
  try:
    with os.fdopen(handle, "wb") as file:
      np.savez(file, **{key: np.asarray(v) for key, v in params.items()})
    os.replace(partial, path)
  except BaseException:
    os.unlink(partial)
    raise


def load(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads what `save` wrote.

  Raises:
    CheckpointError: if the file is missing, damaged or not an npz.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      return {key: file[key] for key in file.files}
  except Exception as error:  # zipfile and NumPy raise many kinds here
    raise CheckpointError(
      f"cannot read the parameters in {os.fspath(path)!r} ({error}); delete"
      " the file to start afresh"
    ) from None
