"""The suite `init_study`: training, quantised evaluation, memory, import."""

import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tf_keras

from qinit import keras
from qinit.archs import zoo
from qinit.data.augment import Augmentation
from qinit.data.dataset import Dataset, scaled
from qinit.graph.rewrite import fold_batch_norm
from qinit.keras.fit import FitConfig, fit
from qinit.params.initializers import initial_params
from qinit.quant.integer import IntegerNetwork
from qinit.quant.ranges import calibrate
from qinit.quant.scheme import Scheme

Row = tuple[str, str, str]
_ARCH, _WIDTH, _BATCH, _STEPS, _ROUNDS = "dws_conv_bn", 0.25, 128, 120, 6


def run() -> Iterator[Row]:
  """(name, value, goal) as they are measured."""
  yield _training()
  yield _evaluation()
  yield _memory()
  yield _import()


def _training() -> Row:
  """Our epochs and Keras' in turn; checkpoints and logs are in ours."""
  data = _noise(_STEPS * _BATCH)
  images, bare = scaled(data.train_images), _model()
  bare.compile(
    tf_keras.optimizers.SGD(0.01, momentum=0.9),
    tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  theirs, ours, begin = [], [], [time.perf_counter()]

  def at_end_of_epoch(progress):
    if progress.step == progress.steps:
      ours.append(time.perf_counter() - begin[0])
      fit_bare = functools.partial(bare.fit, images, data.train_labels)
      theirs.append(_seconds(lambda: fit_bare(batch_size=_BATCH, verbose=0)))
      begin[0] = time.perf_counter()

  with tempfile.TemporaryDirectory() as folder:
    fit(_model(), data, FitConfig(_ROUNDS, _BATCH), folder, at_end_of_epoch)
  # The first epochs trace.
  ratio = statistics.median(
    t / o for t, o in zip(theirs[1:], ours[1:], strict=True)
  )
  return (
    "training with augmentation, images per second over bare tf_keras fit",
    f"{ratio:.2f}",
    "at least 0.88",
  )


def _evaluation() -> Row:
  spec = zoo.build(_ARCH, _WIDTH)
  params = initial_params(spec, "he_uniform", 0)
  folded, weights = fold_batch_norm(spec, params)
  test = scaled(_noise(10_000).test_images)
  some, scheme = np.split(test[:1024], 8), Scheme()
  plain = keras.predictor(_model(), _BATCH)

  def quantised():
    ranges = calibrate(folded, weights, some, scheme, (0.0, 1.0))
    IntegerNetwork(folded, weights, ranges, scheme).logits(test)

  pairs = [
    (_seconds(quantised), _seconds(lambda: plain(test))) for _ in range(_ROUNDS)
  ]
  ratio = statistics.median(q / f for q, f in pairs[1:])
  return (
    "calibration and quantised evaluation over float evaluation, time",
    f"{ratio:.2f}",
    "at most 2.5",
  )


def _memory() -> Row:
  """A process of its own trains one short epoch on 60,000 images."""
  code = (
    "from experiments import bench_init_study as b; from qinit import memory;"
    "b.train_reduced(); print(memory.peak_bytes() / 2**30)"
  )
  return (
    f"peak memory of a reduced cell of {_ARCH}",
    f"{float(_python(code).split()[-1]):.2f} GiB",
    "at most 1.5 GiB",
  )


def train_reduced() -> None:
  """One epoch of the preset `reduced` on noise of CIFAR-10's size, with the
  evaluation after it."""
  from qinit.study import quantise

  data = _noise(50_000, 10_000)
  model = _model()
  with tempfile.TemporaryDirectory() as folder:
    fit(model, data, FitConfig(1, _BATCH), folder)
    quantise.quantise(
      zoo.build(_ARCH, _WIDTH),
      keras.params(model),
      keras.predict(model, scaled(data.test_images)),
      data,
      Scheme(),
      quantise.calibration(data, 1024, 0),
      Path(folder),
    )


def _import() -> Row:
  begin = "import time; t = time.perf_counter();"
  end = "; print(time.perf_counter() - t)"
  ours = "import qinit, tensorflow, qinit.study.init_study, qinit.keras"
  pairs = [
    (
      float(_python(begin + ours + end).split()[-1]),
      float(_python(begin + "import tensorflow, tf_keras" + end).split()[-1]),
    )
    for _ in range(_ROUNDS)
  ]
  ratio = statistics.median(q / t for q, t in pairs)
  return (
    "import of qinit's study over that of tensorflow and tf_keras, time",
    f"{ratio:.2f}",
    "at most 1.10",
  )


def _model():
  spec = zoo.build(_ARCH, _WIDTH)
  model = keras.build(spec)
  keras.assign(model, initial_params(spec, "he_uniform", 0))
  return model


def _noise(train, test=None):
  rng = np.random.default_rng(0)
  test = train if test is None else test
  images = rng.integers(0, 256, (max(train, test), 32, 32, 3), np.uint8)
  # One class: what cannot be learnt would end the training as diverged.
  labels = np.zeros(max(train, test), np.int64)
  return Dataset(
    "noise",
    images[:train],
    labels[:train],
    images[:test],
    labels[:test],
    Augmentation(),
  )


def _seconds(function):
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def _python(code):
  return subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  ).stdout
