"""Hypernetworks that come with the package, by name."""

import numpy as np
import pytest

from qinit.errors import CheckpointError
from qinit.ghn import GhnConfig, HyperNet, load, published, save

SMALL = GhnConfig(hid=8, max_channels=8, max_kernel=3)


@pytest.fixture
def ghn(tmp_path, monkeypatch):
  monkeypatch.setattr(published, "_FOLDER", tmp_path / "package")
  made = HyperNet(SMALL)
  save(tmp_path / "package" / "ghn-small", made)
  return made


def test_a_name_is_found(ghn):
  assert published.names() == ["ghn-small"]
  found = load("ghn-small")
  for name, w in ghn.weights.items():
    np.testing.assert_array_equal(found.weights[name], w)


def test_a_path_that_exists_goes_first(ghn, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  save("ghn-small", HyperNet(GhnConfig(hid=4, max_channels=8, max_kernel=3)))
  assert load("ghn-small").config.hid == 4


def test_what_is_neither_is_named(ghn):
  with pytest.raises(CheckpointError, match="published are ghn-small"):
    load("ghn-large")
