"""Items run side by side are what they are one by one."""

import os
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from qinit.functional import lanes


@pytest.mark.parametrize("count", [1, 2])
def test_results_are_in_the_order_of_the_items(count):
  assert lanes.side_by_side(lambda i: i * i, range(9), count) == [
    i * i for i in range(9)
  ]
  assert lanes.side_by_side(lambda i: i, [], count) == []


def test_two_lanes_are_two_threads_and_no_more_than_there_are_items():
  both = threading.Barrier(2, timeout=20)

  def thread(_):
    both.wait()  # for the other lane
    return threading.get_ident()

  assert len(set(lanes.side_by_side(thread, [0, 1], 2))) == 2
  own = threading.get_ident()
  assert lanes.side_by_side(lambda _: threading.get_ident(), [0], 2) == [own]


@pytest.mark.parametrize("bad", [0, 1])
def test_what_one_raises_is_raised_when_the_others_have_ended(bad):
  both, ended = threading.Barrier(2, timeout=20), []

  def work(i):
    both.wait()
    if i == bad:
      raise ValueError("no")
    ended.append(i)

  with pytest.raises(ValueError, match="no"):
    lanes.side_by_side(work, [0, 1], 2)
  assert ended == [1 - bad]


_SHARED_BATCH_NORM = """
import numpy as np, tensorflow as tf
from qinit.functional import chains, lanes
from qinit.functional.traced import Traced
from qinit.graph import ops

def batch_norm(x, gamma, beta):
  own = {"gamma": gamma, "beta": beta}
  return chains.apply(ops.BatchNorm(), own, x, training=True)

function = Traced(
  batch_norm,
  tf.TensorSpec([None] * 4), tf.TensorSpec([None]), tf.TensorSpec([None]),
)

def gradients(channels):
  rng = np.random.default_rng(channels)
  shapes = [8, 4, 4, channels], [channels], [channels]
  inputs = [tf.constant(rng.normal(size=s), tf.float32) for s in shapes]
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    loss = tf.reduce_sum(function(*inputs) ** 3)
  return [g.numpy() for g in tape.gradient(loss, inputs)]

sizes = [8, 128, 16, 64] * 500
expected = {c: gradients(c) for c in set(sizes)}
for channels, found in zip(sizes, lanes.side_by_side(gradients, sizes, 2)):
  for g, e in zip(found, expected[channels], strict=True):
    np.testing.assert_allclose(g, e, rtol=1e-4, atol=1e-4)
print("as one by one")
"""


def test_lanes_do_not_share_the_kernels_of_batch_norm():
  """oneDNN's gradient of BatchNorm keeps the number of channels in the kernel:
  two threads in one kernel get wrong gradients, or damage the heap."""
  done = subprocess.run(
    [sys.executable, "-c", _SHARED_BATCH_NORM],
    env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"},
    capture_output=True,
    text=True,
  )
  assert done.stdout.strip() == "as one by one", done.stderr[-2000:]


def test_there_are_as_many_lanes_as_operations_may_run_at_once(monkeypatch):
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
  for operations, expected in ((1, 1), (2, 2), (16, 2)):
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", str(operations))
    assert lanes.count() == expected
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
  assert lanes.count() == 1
