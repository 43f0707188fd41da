"""The networks of a meta-batch over several processes."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qinit.study.ghn_step import Outcome, Task


def shares(tasks: Sequence[Task], count: int) -> list[list[Task]]:
  """The tasks over `count` workers that take about the same time: the longest
  first, each to the worker that has the least to do."""
  found: list[list[Task]] = [[] for _ in range(count)]
  loads = [0.0] * count
  for task in sorted(tasks, key=lambda t: t.seconds, reverse=True):
    least = loads.index(min(loads))
    found[least].append(task)
    loads[least] += task.seconds
  return found


class Workers:
  """All workers that TF_CONFIG names, or this process alone.

  Every worker holds the whole hypernetwork and makes the same update from
  the sum of all gradients, which are reduced once per step.

  Attributes:
    count: workers; `index`: this one's number.
    chief: whether this one writes files.
  """

  def __init__(self):
    self._strategy, self.count, self.index = None, 1, 0
    if os.environ.get("TF_CONFIG"):
      self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
      resolver = self._strategy.cluster_resolver
      self.count = self._strategy.num_replicas_in_sync
      self.index = resolver.task_id or 0
    self.chief = self.index == 0

  def own(self, tasks: list[Task]) -> list[Task]:
    """This worker's share."""
    return shares(tasks, self.count)[self.index]

  def reduced(self, outcome: Outcome) -> Outcome:
    """The sum of the outcomes of all workers."""
    if self.count == 1:
      return outcome
    sizes = [int(tf.size(g)) for g in outcome.gradients]
    total = self._sum(
      tf.concat(
        [
          [outcome.loss, outcome.accuracy],
          *(tf.reshape(g, [-1]) for g in outcome.gradients),
        ],
        0,
      )
    )
    parts = tf.split(total, [1, 1, *sizes])
    gradients = [
      tf.reshape(part, g.shape)
      for part, g in zip(parts[2:], outcome.gradients, strict=True)
    ]
    return dataclasses.replace(
      outcome,
      loss=float(parts[0][0]),
      accuracy=float(parts[1][0]),
      gradients=gradients,
    )

  def agreed(self, number: int) -> int:
    """The mean of what the workers say."""
    if self.count == 1:
      return number
    total = self._sum(tf.constant([float(number)]))
    return int(np.round(total[0] / self.count))

  def _sum(self, vector):
    def reduce():
      context = tf.distribute.get_replica_context()
      return context.all_reduce(tf.distribute.ReduceOp.SUM, vector)

    return self._strategy.run(reduce)
