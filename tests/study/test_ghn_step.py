"""A training step of a hypernetwork with its networks side by side."""

import numpy as np
import pytest

from qinit.functional import lanes
from qinit.ghn.hypernet import HyperNet
from qinit.quant.mixed import Mixed
from qinit.quant.simulation import Simulation
from qinit.study import ghn_step
from qinit.study.ghn_step import Penalties, Task
from tests.study.test_ghn_train import SMALL, networks, stream

WAYS = {
  "float": None,
  "simquant": Simulation(4, 4),
  "percentile": Simulation(4, 4, weight_clip="percentile"),
  "noise": Simulation(2, 2, "noise"),
  "mixed": Mixed((Simulation(8, 8), Simulation(4, 4)), 1, "layers"),
}


@pytest.mark.parametrize("name", WAYS)
def test_two_lanes_take_the_step_of_one(name, monkeypatch):
  ghn, data = HyperNet(SMALL), stream()
  images, labels = data.batch(0)
  tasks = [
    Task(network, WAYS[name], data.seeds(0, i))
    for i, network in enumerate(networks())
  ]
  found = []
  for count in (2, 1):  # two trace, too
    monkeypatch.setattr(lanes, "count", lambda count=count: count)
    found.append(
      ghn_step.step(ghn, tasks, images, labels, penalties=Penalties(1e-5, 1e-3))
    )
  both, one = found
  assert both.loss == pytest.approx(one.loss, rel=1e-6)
  assert both.accuracy == one.accuracy
  for own, expected in zip(both.gradients, one.gradients, strict=True):
    scale = np.abs(expected).max() + 1e-12
    np.testing.assert_allclose(own / scale, expected / scale, atol=1e-5)


def test_the_longest_network_goes_first(monkeypatch):
  ghn, data = HyperNet(SMALL), stream()
  tasks = [
    Task(network, None, data.seeds(0, i))
    for i, network in enumerate(networks()[::-1])
  ]
  orders = []

  def side_by_side(run, items, count):
    orders.append(list(items))
    return [run(item) for item in items]

  monkeypatch.setattr(lanes, "side_by_side", side_by_side)
  ghn_step.step(ghn, tasks, *data.batch(0))
  seconds = [tasks[i].seconds for i in orders[0]]
  assert seconds == sorted(seconds, reverse=True)
  assert len(set(seconds)) > 1
