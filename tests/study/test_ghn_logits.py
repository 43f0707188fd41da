"""Logits of many batches, some of which run at once."""

import numpy as np
import tensorflow as tf

from qinit.archs import darts
from qinit.functional import forward
from qinit.quant.mixed import PARTS, Mixed
from qinit.quant.simulation import Simulation
from qinit.study import ghn_logits
from qinit.study.ghn_logits import Images, Predicted
from tests.quant_nets import random_params
from tests.study.test_ghn_train import networks


def predicted():
  """A network, and five batches of which the last is smaller."""
  rng = np.random.default_rng(0)
  batches = [
    tf.constant(rng.normal(size=[count, 32, 32, 3]), tf.float32)
    for count in (4, 4, 4, 4, 2)
  ]
  spec = darts.build(networks()[0].config)
  params = {
    key: tf.constant(w)
    for key, w in random_params(spec, 3).items()
    if "moving" not in key
  }
  return Predicted(spec, params, Images(batches, np.zeros(18, np.int64)))


def test_they_stand_in_the_order_of_the_images():
  made = predicted()
  expected = np.concatenate(
    [forward.forward(made.spec, made.params, x) for x in made.images.batches]
  )
  found = made.logits(made.params, None, 0)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
  swapped = np.abs(found[:4] - expected[4:8]).max()
  assert swapped > 100 * np.abs(found - expected).max()


def test_together_they_have_the_bits_and_the_noise_of_one_by_one(monkeypatch):
  made = predicted()
  for way in (Simulation(4, 4), Simulation(2, 2, "noise")):
    found = []
    for at_once in (1, 4):
      monkeypatch.setattr(ghn_logits, "_AT_ONCE", at_once)
      monkeypatch.setattr(ghn_logits.record, "operations", lambda: 4)
      found.append(made.logits(made.params, way, 7))
    np.testing.assert_array_equal(*found)


def test_one_graph_of_the_network_serves_all_widths(monkeypatch):
  made = predicted()
  wide, narrow = Simulation(8, 8), Simulation(4, 4)
  ways = (wide, Simulation(4, 8), Simulation(2, 2))
  ways += tuple(Mixed((wide, narrow), 0, parts) for parts in PARTS)
  expected = [made.logits(made.params, way, 0) for way in (*ways, None)]
  monkeypatch.setattr(ghn_logits, "_MANY", 1)
  found = [made.logits(made.params, way, 0) for way in ways]
  assert made._whole.experimental_get_tracing_count() == 1
  found.append(made.logits(made.params, None, 0))
  for chains, whole in zip(expected, found, strict=True):
    np.testing.assert_array_equal(chains, whole)
