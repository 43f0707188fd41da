"""Hypernetworks that come with the package, by name."""

import numpy as np
import pytest

from qinit.archs import zoo
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


@pytest.mark.parametrize("name", published.names())
def test_those_of_the_package_load_and_have_a_card(name):
  folder = published.find(name)
  assert load(name).predict(zoo.build("dws_conv_bn", 0.25))
  card = (folder / "MODEL_CARD.md").read_text()
  assert card.startswith(f"# {name}\n")
  for part in ("What it is", "How it was trained", "Limits"):
    assert f"\n## {part}\n" in card
  # tf.train.Checkpoint.save would leave a file with paths of this machine.
  assert not (folder / "checkpoint").exists()


# Norm, sum and first entry, recorded by hand when the file was converted; the
# original is compared with the reference implementation elsewhere.
SHORT = {
  "stem/kernel": (3.447589, 2.927732, -0.138072),
  "block2_dw/depthwise_kernel": (2.574004, 28.664888, 0.010099),
  "block8_project/kernel": (2.71667, -67.003454, 0.008356),
  "block8_project_bn/gamma": (5.016751, 35.254421, 1.029906),
  "logits/kernel": (0.972552, 0.921832, 0.029107),
  "logits/bias": (0.394975, -0.172331, 0.017374),
}


def test_ghn2_cifar10_short_predicts_what_it_did():
  found = load("ghn2-cifar10-short").predict(zoo.build("mbnetv2_bn", 0.25))
  assert len(found) == 79
  for key, wanted in SHORT.items():
    value = np.asarray(found[key], np.float64)
    got = (np.linalg.norm(value), value.sum(), value.flat[0])
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5, err_msg=key)
