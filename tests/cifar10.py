"""CIFAR-10 as TFDS keeps it, where there is a copy."""

import os
from pathlib import Path

import pytest


def folder() -> str:
  """What holds it; skips the test without one."""
  found = os.environ.get("TFDS_DATA_DIR")
  if not found or not (Path(found) / "cifar10").is_dir():
    pytest.skip("NOT TESTED: TFDS_DATA_DIR names no folder with cifar10")
  return found
