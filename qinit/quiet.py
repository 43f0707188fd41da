"""What libraries write to stderr unasked, kept from it."""

import contextlib
import logging
import os
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
  """Nothing written to file descriptor 2 is seen."""
  stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, 2)
  try:
    yield
  finally:
    os.dup2(stderr, 2)
    os.close(stderr)
    os.close(nowhere)


def mute_tensorflow() -> None:
  """No more of TensorFlow's warnings, of retracing, say; it need not have been
  imported yet."""
  logging.getLogger("tensorflow").setLevel("ERROR")
