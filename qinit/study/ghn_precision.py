"""The search for the precision of a hypernetwork, and training in it.

Each step of the search samples a format for every component of the
hypernetwork. The weights learn through one such sample from training images;
behind the warm-up the choices learn, from images that are held out, through
another one with the loss CE + beta C. The derived precision is the likeliest.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qinit.ghn.hypernet import HyperNet
from qinit.ghn.optimizer import Adam
from qinit.lpgnas import hypernet_cost
from qinit.lpgnas.controllers import (
  Controller,
  entropy,
  probabilities,
  sample,
)
from qinit.lpgnas.hypernet import Searched
from qinit.lpgnas.resume import Loop, Progress, finite
from qinit.lpgnas.search import SearchConfig
from qinit.lpgnas.space import Precision
from qinit.study import ghn_step
from qinit.study.ghn_data import Stream
from qinit.study.ghn_step import Outcome, Task

_REPORTED, _SAVED = 10, 25  # every so many steps
_MILESTONE, _DECAY = 0.75, 0.1  # of the rate in training


class Derived(NamedTuple):
  """The likeliest precision, and how the search ended."""

  precision: Precision
  entropy: float


class Search:
  """The state of one search.

  Args:
    ghn: learns on the way, weights and choices.
    config: of it `beta`, `epochs` (steps, here), `warm_precision`, the
      schedule, both rates and `seed` count.
    learn: what the weights learn from.
    held_out: what the choices learn from.
  """

  def __init__(
    self, ghn: Searched, config: SearchConfig, learn: Stream, held_out: Stream
  ):
    self.ghn, self.config = ghn, config
    self.learn, self.held_out = learn, held_out
    self.controller = Controller(
      "precision",
      {name: len(formats) for name, formats in ghn.formats().items()},
      inputs=0,
      network=False,
      seed=config.seed,
    )
    self.cost = hypernet_cost.Cost(ghn.config)
    self.adams = {
      "weights": Adam(ghn.weights.values()),
      "choices": Adam([self.controller.heads], weight_decay=0.0),
    }

  def run(self, folder: str | None = None, report=None) -> Derived:
    """Searches, or goes on where `folder` stands.

    Raises:
      FloatingPointError: if the losses are no longer finite.
      CheckpointError: if the checkpoint in `folder` is damaged.
    """
    loop = Loop(
      folder,
      self.config.epochs,
      _SAVED,
      parts={"ghn": self.ghn, "controller": self.controller},
      optimizers=self.adams,
    )
    _follow(loop, self.step, report, self._note)
    return self.derive()

  def step(self, number: int) -> Outcome:
    """All that one step does; returns what the choices learnt from, or the
    weights in the warm-up."""
    self._take(self._sampled(number, 2 * self.config.seed))
    rate = self.config.learning_rate
    found = teach(self.ghn, self.adams["weights"], self.learn, number, rate)
    if number < self.config.phases[1]:
      return found
    return self._choose(number)

  def derive(self) -> Derived:
    """The likeliest format of every component."""
    logits = self._logits()
    precision = {
      name: formats[int(tf.argmax(logits[name]))]
      for name, formats in self.ghn.formats().items()
    }
    return Derived(precision, float(entropy(logits)))

  def _choose(self, number):
    """A step of the choices; in two stages as the hypernetwork's own: the
    gradient by the sampled one-hots goes on to the logits behind them."""
    with tf.GradientTape() as tape:
      one_hots = self._sampled(number, 2 * self.config.seed + 1)
      cost = self.cost(probabilities(self._logits()))
    self._take(one_hots)
    found = outcome(self.ghn, self.held_out, number)
    if _is_finite(found):
      upstream = found.gradients[-len(one_hots) :]
      gradients = tape.gradient(
        [*one_hots.values(), cost],
        [self.controller.heads],
        [*upstream, tf.constant(self.config.beta)],
      )
      self.adams["choices"].apply(gradients, self.config.controller_rate)
    return found

  def _logits(self):
    return self.controller(tf.zeros([0]))

  def _sampled(self, number, seed):
    """A one-hot for every component; as long as the logits are 0, uniform."""
    tau, noise = self.config.schedule(number)
    return {
      name: sample(logits, tau, noise, [seed, number + (j << 20)])
      for j, (name, logits) in enumerate(self._logits().items())
    }

  def _take(self, one_hots):
    for name, one_hot in one_hots.items():
      self.ghn.choices[name].assign(one_hot)

  def _note(self):
    logits, config = self._logits(), self.ghn.config
    bits = hypernet_cost.expected(config, probabilities(logits))
    weights, vectors = hypernet_cost.mean_widths(config, bits)
    return (
      f"entropy {float(entropy(logits)):.2f}, expected bits W {weights:.1f}"
      f" A {vectors:.1f}"
    )


def train(
  ghn: HyperNet,
  data: Stream,
  steps: int,
  rate: float,
  folder: str | None = None,
  report: Callable[[Progress], None] | None = None,
) -> None:
  """Trains the weights in the precision that is set, or goes on where `folder`
  stands; the rate falls to a tenth at three quarters.

  Raises:
    FloatingPointError: if the losses are no longer finite.
    CheckpointError: if the checkpoint in `folder` is damaged.
  """
  adam = Adam(ghn.weights.values())
  loop = Loop(
    folder, steps, _SAVED, parts={"ghn": ghn}, optimizers={"weights": adam}
  )

  def step(number):
    decay = _DECAY if number >= _MILESTONE * steps else 1.0
    return teach(ghn, adam, data, number, decay * rate)

  _follow(loop, step, report)


def teach(
  ghn: HyperNet, adam: Adam, data: Stream, number: int, rate: float
) -> Outcome:
  """A step of the weights; none if its gradient is not finite."""
  found = outcome(ghn, data, number)
  if _is_finite(found):
    adam.apply(found.gradients[: len(ghn.weights)], rate)
  return found


def outcome(ghn: HyperNet, data: Stream, number: int) -> Outcome:
  """What the networks and images of this number say."""
  tasks = [
    Task(network, None, data.seeds(number, i))
    for i, network in enumerate(data.graphs(number))
  ]
  return ghn_step.step(ghn, tasks, *data.batch(number))


def _follow(loop, step, report, note=lambda: ""):
  """Runs the steps that are left and reports means of some at a time; a
  precision may be sampled in which a network's loss is not finite."""
  seen = []
  for number in loop:
    seen.append(step(number))
    if (number + 1) % _REPORTED == 0 or number + 1 == loop.epochs:
      good = [found for found in seen if math.isfinite(found.loss)]
      loss, accuracy = (
        float(np.mean([getattr(found, name) for found in good] or math.nan))
        for name in ("loss", "accuracy")
      )
      finite(loss, "the hypernetwork")
      if report:
        report(Progress(number, loop.epochs, loss, accuracy, note()))
      seen.clear()


def _is_finite(found):
  numbers = [found.loss, *found.gradients]
  return all(bool(tf.reduce_all(tf.math.is_finite(x))) for x in numbers)
