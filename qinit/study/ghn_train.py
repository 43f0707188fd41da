"""Trains a hypernetwork on ConvNets-250K, in float (GHN-Q) or through
simulated quantisation (GHN-QAT; Sections 4.2 to 4.5 of Starting Positions
Matter)."""

import dataclasses
import functools
import gc
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from qinit import checkpoints, files, record
from qinit import ghn as hypernetworks
from qinit.data import cifar10
from qinit.errors import RunError
from qinit.functional import lanes
from qinit.ghn.config import GHN_2
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.optimizer import Adam
from qinit.quant.mixed import Mixed
from qinit.quant.simulation import Simulation
from qinit.quant.widths import MIXED
from qinit.record import Record
from qinit.study import ghn_data, ghn_step, ghn_workers
from qinit.study.ghn_curve import LearningCurve
from qinit.study.ghn_data import Stream
from qinit.study.ghn_divergence import BackOff
from qinit.study.ghn_probe import EVERY, Probe
from qinit.study.ghn_settings import GhnTrain
from qinit.study.ghn_step import Penalties, Task

KIND = "ghn_train"
_EPOCHS, _MILESTONE, _DECAY = 100, 75, 0.1  # Section 4.2
_TIMED_FROM, _TIMED_TO = 20, 60  # steps that set the number from the minutes


@dataclasses.dataclass(frozen=True)
class Progress:
  """How far a training is. Loss and accuracy are means since the last one."""

  step: int
  steps: int
  loss: float
  accuracy: float
  steps_per_second: float
  skipped: int


def run(
  settings: GhnTrain, report: Callable[[Progress], None] = lambda p: None
) -> Record:
  """Trains, or goes on where the run folder stands, and returns the row.

  The hypernetwork lies in `output_dir`/ghn, before the end as of the last
  checkpoint. The row is in `records.jsonl` before this returns; a training
  that is complete is not repeated.

  Raises:
    RunError: if the folder belongs to other settings, the training diverged
      (the last good checkpoint stays), or workers are not set up alike.
    CheckpointError: if no checkpoint in the folder can be read.
    DataError: if images or networks are missing.
  """
  folder = Path(settings.output_dir)
  workers = ghn_workers.Workers()
  if (folder / "config.json").exists():
    record.open_run(folder, settings.identity())
  rows, _ = record.read(folder / "records.jsonl")
  if rows:
    return rows[-1]
  trainer = Trainer(settings, stream(settings), workers)
  if workers.chief:  # now that nothing is amiss with the settings
    record.open_run(folder, settings.identity())
  try:
    trainer.run(report)
  finally:
    gc.unfreeze()
  row = trainer.row()
  if workers.chief:
    record.append(folder / "records.jsonl", row)
  return row


def stream(settings: GhnTrain) -> Stream:
  """Images and networks in their order; raises DataError."""
  images, labels = cifar10.load(settings.data_dir, "train")
  return Stream(
    images[: settings.images],
    labels[: settings.images],
    ghn_data.networks(settings.split, settings.networks_dir, settings.networks),
    settings.batch_size,
    settings.meta_batch,
    settings.seed,
  )


def start(settings: GhnTrain) -> HyperNet:
  """The hypernetwork before the first step, with this training's cut-off."""
  base = None
  if settings.init_ghn:
    base = hypernetworks.load(settings.init_ghn)
  of = base.config if base else GHN_2
  several = len(settings.bits) > 1 or settings.bits[0] in MIXED
  schemes = {ghn_step.scheme_of(way) for way in settings.ways()}
  config = dataclasses.replace(
    of,
    virtual_edge=settings.virtual_edge,
    widths=of.widths or several,
    schemes=of.schemes or len(schemes) > 1,
    learned_steps=settings.weight_clip == "learned",
  )
  if base is None:
    return HyperNet(
      config, hypernetworks.initial_weights(config, settings.seed)
    )
  weights = hypernetworks.initial_weights(config)
  weights |= {n: w.numpy() for n, w in base.weights.items() if n in weights}
  return HyperNet(config, weights)


class Trainer:
  """The state of one training: what its checkpoints hold."""

  def __init__(self, settings: GhnTrain, data: Stream, workers):
    workers.check_enough(settings.meta_batch)
    self.settings, self.data, self.workers = settings, data, workers
    self._ways = settings.ways()
    self.ghn = start(settings)
    self.variables = list(self.ghn.weights.values())
    self.adam = Adam(self.variables, settings.weight_decay)
    self.folder = Path(settings.output_dir)
    self.step = tf.Variable(0, dtype=tf.int64)
    # 0 until `minutes` have been turned into steps.
    self.steps = tf.Variable(self._known_steps(), dtype=tf.int64)
    self.seconds = tf.Variable(0.0, dtype=tf.float64)
    self.back_off, self.curve = BackOff(), LearningCurve()
    self.probe = self._probe()
    self._dtype = tf.bfloat16 if settings.mixed_precision else tf.float32

  def run(self, report) -> None:
    """Trains to the last step; raises RunError if it diverges."""
    manager = self._restored()
    place = self.settings.identity() | {"step": int(self.step)}
    self.workers.check_alike(record.digest(place))
    begin, saved = time.monotonic(), time.monotonic()
    before, window = float(self.seconds), []
    with self._writer().as_default():
      while not self.steps or self.step < self.steps:
        window.append((time.monotonic(), *self._one()))
        self.seconds.assign(before + time.monotonic() - begin)
        settled = self._settle_steps(window)
        if len(window) >= 10 or self.step == self.steps:
          self._glance(window, report)
        due = time.monotonic() - saved > 60 * self.settings.checkpoint_minutes
        # Not amid skipped steps: what came before them may be better.
        due = (due or settled) and not self.back_off.in_a_row
        if due or self.step == self.steps:
          self._save(manager)
          saved = time.monotonic()

  def rate(self) -> float:
    """The learning rate of the present step."""
    total = int(self.steps) or self.settings.epochs_in_steps(_EPOCHS)
    passed = int(self.step) >= total * _MILESTONE / _EPOCHS
    decay = _DECAY if passed else 1.0
    return self.settings.learning_rate * decay * self.back_off.factor

  def tasks(self, step: int) -> list[Task]:
    """The networks of a step, each at a width of its own where several are
    trained."""
    return [
      Task(
        network,
        self._way(step * self.settings.meta_batch + i),
        self.data.seeds(step, i),
      )
      for i, network in enumerate(self.data.graphs(step))
    ]

  def row(self) -> Record:
    """The training as a row."""
    done = int(self.step)
    curve = self.curve.points(done, int(self.steps))
    last = curve[-max(1, len(curve) // 10) :]
    cell = {
      key: value
      for key, value in self.settings.identity().items()
      if key not in ("minutes", "images", "networks")
    }
    cell |= {
      "bits": ",".join(self.settings.bits),
      "init_ghn": files.short_name(self.settings.init_ghn or "none"),
      "steps": int(self.steps),
    }
    metrics = {
      "steps": done,
      "loss": float(np.mean([p[1] for p in last])),
      "accuracy": float(np.mean([p[2] for p in last])),
      "skipped": self.back_off.skipped,
      "back_offs": self.back_off.times,
      "workers": self.workers.count,
      "curve": [[p[0], round(p[1], 5), round(p[2], 3)] for p in curve],
    }
    if self.probe:
      metrics["oscillating"] = self.probe.oscillating()
    env = record.environment(float(self.seconds), lanes.count())
    return Record(
      KIND, cell, record.digest(self.settings.identity()), metrics, "ok", env
    )

  def _way(self, number):
    """The quantisation of the network of this number."""
    way = self._ways[number % len(self._ways)]
    if isinstance(way, Mixed):
      return dataclasses.replace(way, seed=number)
    return way

  def _probe(self):
    """Follows the narrowest codes; there are none in float."""
    bits = [w.weight_bits for w in self._ways if isinstance(w, Simulation)]
    if not bits:
      return None
    network, clip = self.data.networks[0], self.settings.weight_clip
    return Probe(self.ghn, network, min(bits), clip)

  def _known_steps(self):
    settings = self.settings
    if settings.minutes:
      return 0
    return settings.steps or settings.epochs_in_steps(_EPOCHS)

  def _one(self):
    """One step: its loss and accuracy."""
    number = int(self.step)
    tasks = self.tasks(number)
    images, labels = self.data.batch(number)
    outcome = ghn_step.step(
      self.ghn,
      self.workers.own(tasks),
      images,
      labels,
      len(tasks),
      Penalties(self.settings.norm_penalty, self.settings.damping),
      self._dtype,
    )
    outcome = self.workers.reduced(outcome)
    rate = self.rate()
    self.step.assign_add(1)
    if not (math.isfinite(outcome.loss) and _finite(outcome.gradients)):
      self._skip(number, rate)
      return None, None
    self.adam.apply(outcome.gradients, rate)
    if self.probe and number % EVERY == 0:
      self.probe.look()
    self.back_off.passed()
    if self.steps:
      self.curve.add(number, int(self.steps), outcome.loss, outcome.accuracy)
    return outcome.loss, outcome.accuracy

  def _skip(self, number, rate):
    """A step whose loss or gradient is not finite changes nothing."""
    self.back_off.skip()
    if self.back_off.diverged:
      raise RunError(
        f"training diverged at step {number}: {self.back_off.skipped} losses"
        " were not finite although the learning rate was lowered to"
        f" {rate:.2g}; the last good checkpoint in {self.folder} stays:"
        " train with a lower --learning_rate or --weight_clip=percentile"
      )

  def _settle_steps(self, window):
    """Turns minutes into steps, from the speed after the first tracings; says
    whether it has."""
    if self.steps or len(window) < _TIMED_TO:
      return False
    times = [entry[0] for entry in window]
    speed = (_TIMED_TO - _TIMED_FROM) / (times[-1] - times[_TIMED_FROM - 1])
    left = 60 * self.settings.minutes - float(self.seconds)
    steps = int(self.step) + max(0, int(left * speed))
    self.steps.assign(self.workers.agreed(steps))
    return True

  def _glance(self, window, report):
    if not self.steps:
      return
    good = [entry for entry in window if entry[1] is not None]
    loss, accuracy = (
      float(np.mean([entry[i] for entry in good])) if good else math.nan
      for i in (1, 2)
    )
    taken = window[-1][0] - window[0][0]
    speed = (len(window) - 1) / taken if taken else 0.0
    done = int(self.step)
    progress = Progress(
      done, int(self.steps), loss, accuracy, speed, self.back_off.skipped
    )
    tf.summary.scalar("loss", loss, done)
    tf.summary.scalar("accuracy", accuracy, done)
    tf.summary.scalar("learning_rate", self.rate(), done)
    tf.summary.scalar("skipped", progress.skipped, done)
    if self.probe:
      tf.summary.scalar("oscillating", self.probe.oscillating(), done)
    if self.workers.chief:
      report(progress)
    window.clear()
    # What is left are traced functions, of millions of objects: the garbage
    # collector need not look at them time and again.
    gc.collect()
    gc.freeze()

  def _writer(self):
    if not self.workers.chief:
      return tf.summary.create_noop_writer()
    return tf.summary.create_file_writer(str(self.folder / "logs"))

  def _restored(self):
    more = {"probe": self.probe} if self.probe else {}
    checkpoint = tf.train.Checkpoint(
      ghn=self.ghn,
      adam=self.adam,
      step=self.step,
      steps=self.steps,
      seconds=self.seconds,
      back_off=self.back_off,
      curve=self.curve,
      **more,
    )
    return checkpoints.restored(checkpoint, self.folder / "checkpoints", keep=2)

  def _save(self, manager):
    if self.workers.chief:
      hypernetworks.save(self.folder / "ghn", self.ghn)
      manager.save(checkpoint_number=int(self.step))


@functools.partial(tf.function, autograph=False)
def _finite(gradients):
  return tf.math.is_finite(tf.linalg.global_norm(gradients))
