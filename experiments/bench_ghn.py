"""Speed and memory of parameter prediction; `experiments.bench --suite=ghn`.

The networks are sampled like those of DeepNets-1M's test split, without
attention and squeeze-and-excite. Two minutes on two cores.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time

import numpy as np

from qinit import memory
from qinit.graph.spec import NetSpec

_NETS, _BATCH = 50, 8
_OPS = (
  "none",
  "max_pool_3x3",
  "avg_pool_3x3",
  "skip_connect",
  "sep_conv_3x3",
  "sep_conv_5x5",
  "dil_conv_3x3",
  "dil_conv_5x5",
  "conv_1x1",
  "conv_7x1_1x7",
  "conv_3x3",
  "conv_5x5",
  "conv_7x7",
)
_LARGE = ("conv_5x5", "conv_7x7")  # at most one per cell
_CHILD = "--child"


def run() -> list[tuple]:
  """Rows (name, value, goal)."""
  first = _in_fresh_process()
  return [
    ("first network of a process, s", first["first"], "<= 1"),
    ("peak memory above TensorFlow's, MiB", first["memory"], "<= 600"),
    *_warm(),
  ]


def sample(count: int, seed: int = 0) -> list[NetSpec]:
  """Random networks of 64 to 320 nodes."""
  from qinit.archs import darts
  from qinit.errors import SpecError
  from qinit.graph.view import view

  rng = np.random.default_rng(seed)
  specs: list[NetSpec] = []
  while len(specs) < count:
    config = _config(rng)
    try:
      width = _width(rng, config, darts.build(config).num_params() / 1e6)
      spec = darts.build(dataclasses.replace(config, C=width))
    except SpecError:  # disconnected by `none`
      continue
    if 64 <= len(view(spec)) <= 320:
      specs.append(spec)
  return specs


def _config(rng):
  from qinit.archs.genotype import Genotype, NetConfig

  n_cells = int(rng.integers(4, 19))
  steps = int(rng.integers(1, 5 if n_cells <= rng.integers(7, 11) else 3))

  def cell():
    edges = [
      (_OPS[rng.integers(len(_OPS))], int(index))
      for state in range(steps)
      for index in rng.choice(state + 2, 2, replace=False)
    ]
    large = sum(op in _LARGE for op, _ in edges)
    return edges if large < 2 else cell()

  concat = tuple(range(2, steps + 2))
  return NetConfig(
    Genotype(cell(), concat, cell(), concat),
    n_cells=n_cells,
    C=32,
    C_mult=int(rng.integers(1, 3)),
    ks=int(rng.choice([3, 5, 7])),
    stem_type=int(rng.integers(2)),
    fc_layers=int(rng.integers(1, 3)),
    fc_dim=int(rng.choice([64, 128, 192, 256])),
  )


def _width(rng, config, millions):
  """The reference's rule: the smaller the network, the wider it may be."""
  cells = config.genotype.normal + config.genotype.reduce
  large = any(op in _LARGE for op, _ in cells)
  if millions > 0.8 or large or config.n_cells > 12:
    return 32
  if millions > 0.4 or config.n_cells > 10:
    return int(rng.choice([32, 48]))
  if millions > 0.2 or config.n_cells > 8:
    return int(rng.choice([32, 48, 64]))
  return int(rng.choice([32, 48, 64, 80, 96, 112, 128]))


def _warm():
  from qinit.ghn import GHN_2, HyperNet

  ghn, specs = HyperNet(GHN_2), sample(_NETS)
  graphs = [ghn.view(spec) for spec in specs]
  for spec in specs:
    ghn.predict(spec)
  single = [_seconds(lambda s=s: ghn.predict(s)) for s in specs]
  large = [s for s, g in zip(specs, graphs, strict=True) if len(g) >= 250]
  view = max(_seconds(lambda s=s: ghn.view(s)) for s in large)
  passing, whole = _meta_batches(ghn, specs, graphs)
  floor = [_floor(ghn, s, g) for s, g in zip(specs, graphs, strict=True)]
  return [
    ("spec to parameters, median, ms", _ms(np.median(single)), "<= 15"),
    ("spec to parameters, slowest, ms", _ms(max(single)), "none"),
    ("nodes, median", int(np.median([len(g) for g in graphs])), "none"),
    ("graph of the slowest of 250 to 320 nodes, ms", _ms(view), "<= 5"),
    ("message passing, 8 graphs over one", round(passing, 2), "<= 3"),
    ("prediction, 8 networks over one", round(whole, 2), "<= 6"),
    ("floor: multiplications, median, ms", _ms(np.median(floor)), "none"),
  ]


def _meta_batches(ghn, specs, graphs):
  """Time for 8 over the mean time of each of the 8, median over groups."""
  passing, whole = [], []
  for i in range(0, len(specs) - _BATCH + 1, _BATCH):
    group, views = specs[i : i + _BATCH], graphs[i : i + _BATCH]
    alone = np.mean([_seconds(lambda g=g: ghn.embed([g])) for g in views])
    passing.append(_seconds(lambda v=views: ghn.embed(v)) / alone)
    alone = np.mean([_seconds(lambda s=s: ghn.predict(s)) for s in group])
    whole.append(_seconds(lambda g=group: ghn.predict_batch(g)) / alone)
  return np.median(passing), np.median(whole)


def _floor(ghn, spec, graph):
  """Seconds that the decoder's multiplications take at the matrix rate."""
  from qinit.ghn.plan import Plan

  arrays = Plan([spec], [graph], ghn.config.max_channels, True).arrays
  positions = np.diff(arrays["crop_splits"])
  hid, channels = ghn.config.hid, arrays["crops"].prod(1)
  count = (positions * channels).sum() * 8 * hid
  count += len(arrays["places"]) * (8 * hid + hid) * 4 * hid
  return count / _matrix_rate()


def _matrix_rate(cache=[]):  # noqa: B006
  """Multiply-accumulates per second of a product of the decoder's size."""
  import tensorflow as tf

  if not cache:
    a, b = tf.ones([512, 256]), tf.ones([256, 4096])
    seconds = _seconds(lambda: tf.linalg.matmul(a, b).numpy(), repeats=20)
    cache.append(512 * 256 * 4096 / seconds)
  return cache[0]


def _seconds(work, repeats=7):
  """Median time of `work`, after one run to warm up."""
  work()
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    work()
    times.append(time.perf_counter() - start)
  return float(np.median(times))


def _ms(seconds):
  return round(1000 * float(seconds), 2)


def _in_fresh_process():
  env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
  command = [sys.executable, "-m", "experiments.bench_ghn", _CHILD]
  result = subprocess.run(
    command, env=env, check=True, capture_output=True, text=True
  )
  return json.loads(result.stdout.splitlines()[-1])


def _child():
  """Time of the first prediction, and memory that 20 more add at most."""
  import tensorflow as tf

  import qinit.ghn

  float(tf.reduce_sum(tf.ones([512, 512]) @ tf.ones([512, 512])))
  before = memory.peak_bytes()
  ghn, specs = qinit.ghn.HyperNet(qinit.ghn.GHN_2), sample(20, seed=1)
  start = time.perf_counter()
  ghn.predict(specs[0])
  first = time.perf_counter() - start
  for i in range(0, 16, _BATCH):
    ghn.predict_batch(specs[i : i + _BATCH])
  added = (memory.peak_bytes() - before) // 2**20
  print(json.dumps({"first": round(first, 2), "memory": added}))


if __name__ == "__main__":
  if sys.argv[1:] == [_CHILD]:
    _child()
