"""The networks of a meta-batch over several processes."""

import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qinit.errors import RunError
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
    count: workers; `index`: this one's number, the chief's (or the first
      worker's, where TF_CONFIG names no chief) being 0.
    chief: whether this one writes files.

  Raises:
    RunError: if TF_CONFIG cannot be used, or a worker has several GPUs.
  """

  def __init__(self):
    self._strategy, self.count, self.index = None, 1, 0
    if os.environ.get("TF_CONFIG"):
      self.count, self.index = _place(os.environ["TF_CONFIG"])
      self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
      if self._strategy.num_replicas_in_sync > self.count:
        raise RunError(
          "a worker trains on one GPU: show each its own with"
          " CUDA_VISIBLE_DEVICES and name one worker in TF_CONFIG for each"
        )
    self.chief = self.index == 0

  def check_enough(self, meta_batch: int) -> None:
    """Raises RunError unless there is a network for every worker."""
    if self.count > meta_batch:
      raise RunError(
        f"{self.count} workers share {meta_batch} networks a step: name fewer"
        " in TF_CONFIG or give a larger --meta_batch"
      )

  def check_alike(self, digest: str) -> None:
    """Raises RunError, in all workers, unless all give the same hex digits."""
    if self.count == 1:
      return
    digits = np.array([int(d, 16) for d in digest], np.float32)
    total, squares = self._sum(tf.constant([digits, digits**2])).numpy()
    # Equality of Cauchy and Schwarz, exact in small integers.
    if (self.count * squares != total**2).any():
      raise RunError(
        "the workers differ in their settings or in how far they are: give all"
        " the same flags and one --output_dir on a disk that they share"
      )

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


def _place(text):
  """Workers and this one's number in a TF_CONFIG, the chief first."""
  try:
    config = json.loads(text)
    cluster, task = config["cluster"], config["task"]
    workers = [
      (kind, i)
      for kind in ("chief", "worker")
      for i in range(len(cluster.get(kind, ())))
    ]
    own = task["type"], int(task["index"])
    return len(workers), workers.index(own)
  except (ValueError, TypeError, KeyError, AttributeError):
    raise RunError(
      "TF_CONFIG is no JSON of a cluster with this task as its chief or one of"
      " its workers: correct it, or unset it to train in one process"
    ) from None
