"""What a cell would cost on this machine, measured on a few steps."""

import dataclasses
import tempfile
import time

import numpy as np

from qinit import memory
from qinit.data.augment import Augmentation
from qinit.data.dataset import Dataset
from qinit.study.init_study import Cell, InitStudy, train

_TRAIN_IMAGES = {"cifar10": 50_000, "digits": 1_438}
_TEST_IMAGES = {"cifar10": 10_000, "digits": 359}
_STEPS = 8
# A forward pass is about a third of a step; float, simulated, fake-quantised
# and runtime evaluation take about as much as six of them.
_EVALUATIONS = 6 / 3
_START = 20.0


@dataclasses.dataclass(frozen=True)
class Cost:
  """Seconds and GiB of memory that one cell takes."""

  seconds: float
  gibibytes: float


def measure(study: InitStudy, arch: str) -> Cost:
  """Trains `arch` for a few steps on noise and extrapolates."""
  step = _seconds_per_step(study, arch)
  steps = _TRAIN_IMAGES[study.dataset] // study.batch_size * study.epochs
  evaluation = _TEST_IMAGES[study.dataset] / study.batch_size * _EVALUATIONS
  images = _TRAIN_IMAGES[study.dataset] + _TEST_IMAGES[study.dataset]
  return Cost(
    seconds=_START + step * (steps + evaluation),
    gibibytes=(memory.peak_bytes() + 2 * images * 32 * 32 * 3) / 2**30,
  )


def _seconds_per_step(study, arch):
  """Of the second of two short epochs; the first one traces."""
  times = []
  probe = dataclasses.replace(study, epochs=2)
  with tempfile.TemporaryDirectory() as folder:
    probe = dataclasses.replace(probe, output_dir=folder)
    train(
      probe,
      Cell(arch, "glorot_uniform", 0),  # others may end at once, as diverged
      _noise(study.batch_size * _STEPS),
      lambda progress: times.append(time.monotonic()),
    )
  return (times[-1] - times[0]) / _STEPS


def _noise(count):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
  # One class: what cannot be learnt would end the training after an epoch.
  labels = np.zeros(count, np.int64)
  return Dataset("noise", images, labels, images, labels, Augmentation())
