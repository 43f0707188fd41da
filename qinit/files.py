"""Files that appear whole or not at all."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
  """Yields a path beside `path` to write to. When the block ends well the
  file takes its name; when it fails nothing is left, and what was at `path`
  stays."""
  partial = Path(f"{os.fspath(path)}.partial")
  try:
    yield partial
    os.replace(partial, path)
  except BaseException:
    partial.unlink(missing_ok=True)
    raise


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a text file whole or not at all."""
  with whole(path) as partial:
    partial.write_text(text)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes a file whole or not at all."""
  with whole(path) as partial:
    partial.write_bytes(data)


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
  """Only one process at a time is in such a block for the same folder."""
  with open(Path(folder) / ".lock", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file
    yield


def short_name(path: str | os.PathLike) -> str:
  """What rows call a file of weights: its stem, or the name of its folder
  where it is the `ghn` of a training."""
  path = Path(path)
  return path.parent.name if path.name == "ghn" else path.stem
