"""Two processes on loopback train what one trains."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from qinit import ghn as hypernetworks
from qinit.archs.collection import Network
from qinit.errors import RunError
from qinit.ghn.hypernet import HyperNet
from qinit.study import ghn_workers
from qinit.study.ghn_step import Task
from qinit.study.ghn_workers import Workers, shares
from tests.study.test_ghn_train import SMALL

_CHILD = """
import json, sys
from qinit.study import ghn_workers
workers = ghn_workers.Workers()  # before anything else runs
from tests.study import test_ghn_train as t
made = t.settings(sys.argv[1], sys.argv[2], steps=3)
trainer = t.Trainer(made, t.stream(), workers)
trainer.run(lambda p: None)
losses = [p[1] for p in trainer.curve.points(3, 3)]
norm = float(sum((w.numpy() ** 2).sum() for w in trainer.variables))
print(json.dumps([workers.count, losses, norm]))
"""
_APART = """
import sys
from qinit.errors import RunError
from qinit.study.ghn_workers import Workers
workers = Workers()
workers.check_alike("0f")
try:
  workers.check_alike(sys.argv[1][-2:])
except RunError as error:
  print(error)
"""


def test_losses_equal_those_of_one_process(tmp_path):
  base = str(tmp_path / "ghn")
  hypernetworks.save(base, HyperNet(SMALL))
  pair = [
    _start(config, _CHILD, base, str(tmp_path / "pair")) for config in _pair()
  ]
  first, second = (json.loads(_said(process)) for process in pair)
  child = _start(None, _CHILD, base, str(tmp_path / "alone"))
  alone = json.loads(_said(child))
  assert len(alone[1]) == 3
  assert [first[0], second[0], alone[0]] == [2, 2, 1]
  assert first == second
  assert first[1] == pytest.approx(alone[1], rel=1e-5)
  assert first[2] == pytest.approx(alone[2], rel=1e-5)


def test_two_processes_that_differ_both_refuse():
  pair = [
    _start(config, _APART, digest)
    for config, digest in zip(_pair(), ("..1f", "..1e"), strict=True)
  ]
  for process in pair:
    assert _said(process).startswith("the workers differ in their settings")


@pytest.mark.parametrize(
  "task, place",
  [
    ({"type": "chief", "index": 0}, (3, 0)),
    ({"type": "worker", "index": 0}, (3, 1)),
    ({"type": "worker", "index": 1}, (3, 2)),
  ],
)
def test_a_chief_goes_before_the_workers(task, place):
  cluster = {"worker": ["a:1", "b:1"], "chief": ["c:1"]}
  text = json.dumps({"cluster": cluster, "task": task})
  assert ghn_workers._place(text) == place


@pytest.mark.parametrize(
  "text",
  [
    "{",
    "[]",
    '{"cluster": {"worker": ["a:1"]}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
  ],
)
def test_another_tf_config_is_refused(text, monkeypatch):
  monkeypatch.setenv("TF_CONFIG", text)
  with pytest.raises(RunError, match="TF_CONFIG is no JSON of a cluster"):
    Workers()


def test_workers_that_differ_or_are_too_many_are_refused(monkeypatch):
  monkeypatch.delenv("TF_CONFIG", raising=False)
  workers = Workers()
  workers.check_alike("0f")  # alone
  workers.count = 3
  workers.check_enough(3)
  with pytest.raises(RunError, match="3 workers share 2 networks a step"):
    workers.check_enough(2)
  # Three workers, of which two say 0f and one says what follows.
  for other, alike in (("0f", True), ("1f", False), ("0e", False)):
    digits = [[0, 0, int(other[0], 16)], [15, 15, int(other[1], 16)]]
    sums = [[sum(d), sum(x**2 for x in d)] for d in digits]
    workers._sum = lambda vector, sums=sums: tf.transpose(
      tf.constant(sums, tf.float32)
    )
    if alike:
      workers.check_alike("0f")
    else:
      with pytest.raises(RunError, match="differ in their settings"):
        workers.check_alike("0f")


def test_shares_take_about_the_same_time():
  def task(number, nodes, macs):
    return Task(Network(number, "", nodes, 0, macs, ""), None, np.zeros(2))

  # 0.2, 1.1, 0.6 and 0.5 seconds.
  tasks = [
    task(0, 100, 0),
    task(1, 100, 3 * 10**8),
    task(2, 0, 2 * 10**8),
    task(3, 100, 10**8),
  ]
  assert [t.seconds for t in tasks] == pytest.approx([0.2, 1.1, 0.6, 0.5])
  numbers = [[t.network.number for t in own] for own in shares(tasks, 2)]
  assert numbers == [[1, 0], [2, 3]]
  assert shares(tasks, 1) == [[tasks[i] for i in (1, 2, 3, 0)]]
  assert all(shares(tasks, 4))


def _pair():
  """TF_CONFIG of two workers on loopback."""
  ports = [_free_port() for _ in range(2)]
  cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
  return [
    {"cluster": cluster, "task": {"type": "worker", "index": i}}
    for i in range(2)
  ]


def _start(config, child, *arguments):
  environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
  environment.pop("TF_CONFIG", None)
  if config:
    environment["TF_CONFIG"] = json.dumps(config)
  return subprocess.Popen(
    [sys.executable, "-c", child, *arguments],
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def _said(process):
  out, said = process.communicate(timeout=300)
  assert process.returncode == 0, said[-2000:]
  return out.strip().splitlines()[-1]


def _free_port():
  with socket.socket() as sock:
    sock.bind(("127.0.0.1", 0))
    return sock.getsockname()[1]
