"""Parameters on disk: one flat dict {"node/role": array} in an npz file."""

import os
from collections.abc import Mapping

import numpy as np

from qinit.errors import CheckpointError
from qinit.files import whole


def save(path: str | os.PathLike, params: Mapping) -> None:
  """Writes `params`; the file appears whole or not at all."""
  with whole(path) as partial, partial.open("wb") as file:
    arrays = {key: np.asarray(value) for key, value in params.items()}
    np.savez(file, allow_pickle=False, **arrays)


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
