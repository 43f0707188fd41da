"""Speed of training and evaluating hypernetworks;
`experiments.bench --suite=ghn_train`.

A step is everything from sampling to optimiser: meta-batch 4, batch 32, four
mobile networks of at most two million parameters that no step before had.
The kinds of step take turns on the same networks, and a ratio is the median of
theirs: networks differ by more than the kinds do. Where PyTorch is installed it
runs the same float networks, one by one: what a second is worth depends on the
machine. Eight to thirty minutes on two cores.
"""

import dataclasses
import importlib.util
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time

from qinit import load_tensorflow

_WARM, _TIMED, _META_BATCH, _BATCH = 10, 15, 4, 32
_TURNS, _FEW, _ALL = 2, 8, 157  # of an evaluation, and its batches
_MOST_PARAMS = 2_000_000
_SMALL = {"n_cells": (4, 8), "widths": (16, 32)}  # as the warm start's networks
_WORKER, _EVALUATION = "--worker", "--evaluation"


def run():
  """Rows (name, value, goal)."""
  seconds = step_seconds()
  w4a4, noise = (
    _ratio(seconds[k], seconds["float"]) for k in ("w4a4", "noise")
  )
  yield "float step, median s", _median(seconds["float"]), "<= 0.6"
  name = "float step, networks in bfloat16, median s"
  yield name, _median(seconds["bfloat16"]), "-"
  name = "float step, networks of 4 to 8 cells, width 16 or 32, median s"
  yield name, _median(float_seconds(mobile_networks(**_SMALL))), "-"
  yield "W4/A4 SimQuant step / float step", round(w4a4, 2), "<= 1.6"
  yield "W2/A2 NoiseQuant step / float step", round(noise, 2), "<= 2"
  yield from _beside_torch(seconds["float"])
  five, apart = evaluation_ratios()
  yield "evaluation at five settings / float", round(five, 2), "<= 7"
  yield "five settings together / apart", round(apart, 2), "<= 0.9"
  yield "steps/s, one process", round(workers_speed(1), 2), "-"
  yield "steps/s, two worker processes", round(workers_speed(2), 2), "-"


def step_seconds() -> dict[str, list[float]]:
  """Seconds of every timed step by kind."""
  import tensorflow as tf

  from qinit.quant.simulation import Simulation

  kinds = {
    "float": (None, tf.float32),
    "bfloat16": (None, tf.bfloat16),
    "w4a4": (Simulation(4, 4), tf.float32),
    "noise": (Simulation(2, 2, "noise"), tf.float32),
  }
  networks, stepper = mobile_networks(), _Stepper()
  seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
  for number in range(_WARM + _TIMED):
    group = list(itertools.islice(networks, _META_BATCH))
    for kind, (how, dtype) in kinds.items():
      taken = stepper(group, how, dtype)
      if number >= _WARM:
        seconds[kind].append(taken)
  return seconds


def float_seconds(networks) -> list[float]:
  """Seconds of every timed float step on networks without end."""
  import tensorflow as tf

  stepper = _Stepper()
  seconds = [
    stepper(list(itertools.islice(networks, _META_BATCH)), None, tf.float32)
    for _ in range(_WARM + _TIMED)
  ]
  return seconds[_WARM:]


def mobile_networks(**limits):
  """Networks of separable convolutions, without end, within these limits of
  the space."""
  from qinit.archs import sampler, space
  from qinit.archs.collection import describe

  mobile = space.mobilenet_like(space.PAPER["train"])
  mobile = dataclasses.replace(mobile, **limits)
  for i in itertools.count():
    config = sampler.candidate(mobile, 0, "bench", i)
    if config is not None:
      network = describe(i, config)
      if network.num_params <= _MOST_PARAMS:
        yield network


class _Stepper:
  """A hypernetwork in training."""

  def __init__(self):
    from qinit.ghn.hypernet import HyperNet
    from qinit.ghn.optimizer import Adam

    self.ghn = HyperNet(_config())
    self.adam = Adam(list(self.ghn.weights.values()))
    self.images, self.labels = _batch()

  def __call__(self, networks, how, dtype) -> float:
    """Seconds of a step."""
    import numpy as np

    from qinit.study import ghn_step

    tasks = [
      ghn_step.Task(network, how, np.array([0, i], np.int32))
      for i, network in enumerate(networks)
    ]
    begin = time.perf_counter()
    outcome = ghn_step.step(
      self.ghn, tasks, self.images, self.labels, dtype=dtype
    )
    float(self.adam.apply(outcome.gradients, 1e-3))
    return time.perf_counter() - begin


def _beside_torch(steps):
  """Rows of the float networks there and back, and of whole float steps."""
  name = "networks there and back / PyTorch's"
  if importlib.util.find_spec("torch") is None:
    yield name, "needs PyTorch", "-"
    return
  own, torch, last = zip(*_torch_seconds(), strict=True)
  yield "PyTorch's networks there and back, median s", _median(torch), "-"
  yield name, round(_ratio(own, torch), 2), "-"
  yield name + ", channels last", round(_ratio(own, last), 2), "-"
  # 0.6 s where PyTorch takes as long for the networks alone.
  name = "float step / PyTorch's networks there and back"
  yield name, round(_ratio(steps, torch), 2), "<= 1"


def _torch_seconds():
  """`bench_torch.seconds` of every timed meta-batch."""
  from experiments import bench_torch
  from qinit.archs import darts

  specs = (darts.build(network.config) for network in mobile_networks())
  groups = (
    list(itertools.islice(specs, _META_BATCH)) for _ in range(_WARM + _TIMED)
  )
  taken = bench_torch.seconds(groups, *_batch())
  return itertools.islice(taken, _WARM, None)


def evaluation_ratios() -> tuple[float, float]:
  """Five settings over float, and together over apart, of one network, with
  threads as `experiments.ghn_eval` sets them."""
  child = _child(_EVALUATION, {"TF_NUM_INTRAOP_THREADS": "1"})
  return tuple(json.loads(_printed(child)))


def _evaluation() -> None:
  """Prints `evaluation_ratios`: the first of 10,000 images, the second of a
  few."""
  import numpy as np
  import tensorflow as tf

  from qinit.ghn.hypernet import HyperNet
  from qinit.study import ghn_eval
  from qinit.study.ghn_logits import Images

  settings = ghn_eval.GhnEval(ghn="", sampled=True)
  ghn, rng = HyperNet(_config()), np.random.default_rng(0)
  batches = [
    tf.constant(rng.normal(size=[64, 32, 32, 3]), tf.float32)
    for _ in range(_ALL)
  ]
  network = next(mobile_networks())

  def seconds(bits, count):
    images = Images(batches[:count], rng.integers(0, 10, 64 * count))
    rows = [{"bits": b, "network": 9} for b in bits]
    made = dataclasses.replace(settings, bits=bits)
    begin = time.perf_counter()
    list(ghn_eval.evaluate(made, ghn, network, rows, images))
    return time.perf_counter() - begin

  alone, together = ("float",), settings.bits
  seconds(together, _FEW)  # traces
  five = [seconds(together, _ALL) / seconds(alone, _ALL) for _ in range(_TURNS)]
  pairs = [alone, *(("float", bits) for bits in settings.bits[1:])]
  apart = [
    seconds(together, _FEW) / sum(seconds(bits, _FEW) for bits in pairs)
    for _ in range(_TURNS)
  ]
  print(json.dumps([statistics.median(five), statistics.median(apart)]))


def _median(seconds):
  return round(statistics.median(seconds), 3)


def _ratio(seconds, others):
  """Of what took turns."""
  return statistics.median(a / b for a, b in zip(seconds, others, strict=True))


def _batch():
  """Images and labels of a step."""
  import numpy as np

  rng = np.random.default_rng(0)
  images = rng.normal(size=[_BATCH, 32, 32, 3]).astype(np.float32)
  return images, rng.integers(0, 10, _BATCH)


def _config():
  from qinit.ghn.config import GHN_2

  return dataclasses.replace(GHN_2, virtual_edge=10)


def workers_speed(count: int) -> float:
  """Steps per second of `count` processes that share each meta-batch, and
  the cores."""
  from qinit.grid.task import thread_limits

  ports = []
  for _ in range(count):
    with socket.socket() as sock:
      sock.bind(("127.0.0.1", 0))
      ports.append(sock.getsockname()[1])
  cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
  children = []
  for index in range(count):
    task = {"type": "worker", "index": index}
    config = json.dumps({"cluster": cluster, "task": task})
    environment = {}
    if count > 1:
      threads = max(1, (os.cpu_count() or 1) // count)
      environment = {"TF_CONFIG": config} | thread_limits(threads)
    children.append(_child(_WORKER, environment))
  first, *_ = [_printed(child) for child in children]
  return float(first)


def _child(kind, environment):
  """A process of this module."""
  return subprocess.Popen(
    [sys.executable, "-m", "experiments.bench_ghn_train", kind],
    env=os.environ | environment,
    stdout=subprocess.PIPE,
    text=True,
  )


def _printed(child):
  """The last line of what it says."""
  return child.communicate()[0].strip().splitlines()[-1]


def _work() -> None:
  """Prints the steps per second of this worker."""
  import numpy as np

  from qinit.study import ghn_step, ghn_workers

  workers = ghn_workers.Workers()
  stepper, networks = _Stepper(), mobile_networks()
  begin = 0.0
  for number in range(_WARM + _TIMED):
    if number == _WARM:
      begin = time.perf_counter()
    group = itertools.islice(networks, _META_BATCH)
    tasks = [
      ghn_step.Task(network, None, np.array([0, i], np.int32))
      for i, network in enumerate(group)
    ]
    outcome = ghn_step.step(
      stepper.ghn, workers.own(tasks), stepper.images, stepper.labels, 4
    )
    stepper.adam.apply(workers.reduced(outcome).gradients, 1e-3)
  print(_TIMED / (time.perf_counter() - begin))


if __name__ == "__main__":
  load_tensorflow()
  {_WORKER: _work, _EVALUATION: _evaluation}[sys.argv[1]]()
