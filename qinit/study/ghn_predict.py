"""Predicts a network's parameters and measures what they are worth."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from qinit.archs.load import load as load_arch
from qinit.data import cifar10
from qinit.data.normalise import RANGE, normalise
from qinit.errors import DataError, QinitError
from qinit.export import tflite
from qinit.export.runtime import Parity, Runtime
from qinit.files import write_text
from qinit.functional.forward import forward
from qinit.functional.statistics import estimate_moving_stats
from qinit.ghn import checkpoint
from qinit.graph.rewrite import fold_batch_norm
from qinit.graph.spec import NetSpec
from qinit.params import store
from qinit.quant.batch_fold import BatchFolded
from qinit.quant.integer import IntegerNetwork
from qinit.quant.ranges import calibrate
from qinit.quant.scheme import Scheme, bits_of
from qinit.stats.accuracy import accuracy

_QUINT8 = Scheme()


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to predict and how to evaluate it.

  Attributes:
    ghn: a `.pt` file, a folder, or a published name.
    arch: see `archs.load`.
    images: npz with `x` [N, H, W, C] float32, normalised; all one batch.
    dataset: "cifar10" or None.
    schemes: widths to predict for and to evaluate on the data set; None is
      float.
    clip_percentile: of the activations, for the file that is exported.
    calibration_images: training images that set ranges and statistics.
    num_images: test images, 0 for all.
  """

  ghn: str
  arch: str
  output: str
  images: str | None = None
  dataset: str | None = None
  data_dir: str | None = None
  schemes: tuple[Scheme | None, ...] = (None,)
  export_tflite: bool = False
  batch_size: int = 64
  clip_percentile: float = 1.0
  calibration_images: int = 1024
  num_images: int = 0

  def __post_init__(self):
    if self.images and self.dataset:
      raise QinitError("give either images or a data set, not both")
    if file := next(
      (p for p in Path(self.output).parents if p.is_file()), None
    ):
      raise QinitError(f"{file} is a file, no folder: name another output")
    quantised = self.export_tflite or any(self.schemes)
    if quantised and not self.dataset:
      raise QinitError("quantisation needs a data set to calibrate on")
    if self.dataset not in (None, "cifar10"):
      raise QinitError(f"unknown data set {self.dataset!r}: choose cifar10")


@dataclasses.dataclass(frozen=True)
class Images:
  """Test images, normalised, with labels, and images to calibrate on."""

  test: list[np.ndarray]
  labels: np.ndarray
  calibration: list[np.ndarray]


def run(settings: Settings) -> dict:
  """Writes OUT.params.npz and OUT.json, with images or a data set OUT.npz
  (`logits`) and, if asked for, OUT.tflite. Parameters and logits are those of
  the first width: a hypernetwork that sees widths predicts for each, and for
  W8/A8 what is exported. Returns the metrics.

  Raises:
    QinitError: for bad input; nothing is written then.
  """
  ghn = checkpoint.load(settings.ghn)
  spec = load_arch(settings.arch)
  predict = functools.cache(functools.partial(_predict, ghn, spec))
  params = predict(settings.schemes[0])
  metrics = {
    "arch": spec.digest(),
    "num_params": spec.num_params(),
    "macs": spec.macs(),
  }
  logits, model = None, None
  if settings.images:
    logits = forward(spec, params, _read(settings.images, spec)).numpy()
  elif settings.dataset:
    images = _cifar10(settings)
    logits, found = _evaluate(spec, predict, images, settings)
    metrics |= found
    if settings.export_tflite:
      model, found = _export(spec, predict(_QUINT8), images, settings)
      metrics["tflite"] = found
  _write(settings.output, params, logits, metrics, model)
  return metrics


def _predict(ghn, spec, scheme):
  return ghn.predict(spec, bits_of(scheme))


def _evaluate(spec, predict, images, settings):
  """The logits at the first width, and the accuracy at each."""
  metrics = {"batch_norm": "batch", "batch_size": settings.batch_size}
  first = None
  for scheme in settings.schemes:
    logits = _logits(spec, predict(scheme), scheme, images)
    first = logits if first is None else first
    found = {"accuracy": accuracy(logits, images.labels)}
    if scheme:
      found["clip_percentile"] = scheme.clip_percentile
    metrics[scheme.name if scheme else "float"] = found
  return first, metrics


def _logits(spec, params, scheme, images):
  if scheme is None:
    return _float_logits(spec, params, images.test)
  network = BatchFolded(spec, params)
  ranges = network.calibrate(images.calibration, scheme.clip_percentile, RANGE)
  return network.logits(images.test, ranges, scheme)


def _export(spec, params, images, settings):
  """The file with estimated statistics, and what LiteRT makes of it."""
  params = estimate_moving_stats(spec, params, images.calibration)
  folded, params = fold_batch_norm(spec, params)
  params = {key: np.asarray(value) for key, value in params.items()}
  scheme = dataclasses.replace(
    _QUINT8, clip_percentile=settings.clip_percentile
  )
  ranges = calibrate(folded, params, images.calibration, scheme, RANGE)
  network = IntegerNetwork(folded, params, ranges, scheme)
  model = tflite.lower(network.quantized)
  test = np.concatenate(images.test)
  codes = Runtime(model).output_codes(network.input_codes(test))
  parity = Parity.of(codes, network.output_codes(test))
  return model, {
    "batch_norm": "estimated",
    "litert_accuracy": accuracy(codes, images.labels),
    "litert_equal_codes": parity.equal,
    "litert_max_difference": parity.max_difference,
    "output_codes": len(np.unique(codes)),
    "bytes": len(model),
  }


def _float_logits(spec, params, batches):
  @tf.function(reduce_retracing=True, autograph=False)
  def logits(images):
    return forward(spec, params, images)

  return np.concatenate([logits(images).numpy() for images in batches])


def _cifar10(settings):
  test, labels = cifar10.load(settings.data_dir, "test")
  count = settings.num_images or len(test)
  train, _ = cifar10.load(settings.data_dir, "train")
  train = train[: settings.calibration_images]
  return Images(
    _batches(normalise(test[:count]), settings.batch_size),
    labels[:count],
    _batches(normalise(train), settings.batch_size),
  )


def _batches(images, size):
  return [images[i : i + size] for i in range(0, len(images), size)]


def _read(path, spec: NetSpec):
  try:
    with np.load(path, allow_pickle=False) as file:
      x = file["x"]
  except (OSError, ValueError, KeyError, AttributeError) as error:
    raise DataError(f"{path} is no npz with images `x` ({error})") from None
  if x.dtype != np.float32 or x.shape[1:] != spec.input_shape or not len(x):
    raise DataError(
      f"{path}: x must be float32 [N, {', '.join(map(str, spec.input_shape))}],"
      f" not {x.dtype} {list(x.shape)}"
    )
  return x


def _write(output, params, logits, metrics, model):
  folder = Path(output).parent
  folder.mkdir(parents=True, exist_ok=True)
  store.save(f"{output}.params.npz", params)
  if logits is not None:
    store.save(f"{output}.npz", {"logits": logits})
  if model is not None:
    tflite.write(f"{output}.tflite", model)
  write_text(f"{output}.json", json.dumps(metrics, indent=2) + "\n")
