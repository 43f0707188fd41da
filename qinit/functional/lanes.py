"""Networks side by side.

The operations of a network are small, and a fifth of a step is Python: two
cores gain more from two networks at once than from two threads for each
operation. Two threads must not share the kernels of a function, since some
have a state (oneDNN's gradient of BatchNorm keeps its number of channels, and
with that of another thread writes beyond the end). Each of TensorFlow's
executors has kernels of its own, so there is a lane for each of them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from qinit import record

_EXECUTORS = ("", "SINGLE_THREADED_EXECUTOR")


def count() -> int:
  """Lanes that gain on this machine: as many as operations may run at once; a
  GPU runs one after the other anyway."""
  if tf.config.list_physical_devices("GPU"):
    return 1
  return min(len(_EXECUTORS), record.operations())


def side_by_side(run: Callable, items: Sequence, lanes: int) -> list:
  """`run` of each item, in the order of the items; up to `lanes` of them run at
  once, the first items first. What one raises is raised when all have ended.

  The functions that `run` calls are `Traced`, or known to be traced.
  """
  numbers, found = iter(range(len(items))), [None] * len(items)

  def lane(executor):
    with tf.experimental.function_executor_type(executor):
      for i in numbers:  # each goes to one lane
        found[i] = run(items[i])

  own, *others = _EXECUTORS[: max(1, min(lanes, len(items)))]
  with ThreadPoolExecutor(len(_EXECUTORS)) as pool:
    threads = [pool.submit(lane, executor) for executor in others]
    lane(own)
  for thread in threads:
    thread.result()
  return found
