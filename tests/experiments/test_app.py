"""How commands start."""

import os
import platform

import pytest

from experiments import app

_NAME = "TF_ENABLE_ONEDNN_OPTS"


@pytest.mark.parametrize(
  "machine, before, after",
  [
    ("x86_64", None, "1"),
    ("AMD64", None, "1"),
    ("x86_64", "0", "0"),  # what a user sets stays
    ("aarch64", None, None),
  ],
)
def test_onednn_is_turned_on(machine, before, after, monkeypatch):
  monkeypatch.setenv(_NAME, before or "")
  if before is None:
    monkeypatch.delenv(_NAME)
  monkeypatch.setattr(platform, "machine", lambda: machine)
  app.use_onednn()
  assert os.environ.get(_NAME) == after
