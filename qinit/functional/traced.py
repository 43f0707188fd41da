"""Functions that several threads may call."""

import threading
from collections.abc import Callable

import tensorflow as tf

_FIRST = threading.RLock()


class Traced:
  """`run`, traced once for arguments of these signatures.

  TensorFlow traces what goes back through a function when a tape first sees a
  call of it. That changes the function's graph, which is not meant for two
  threads at once: the first call of any function waits for that of others. It
  should be the one under a tape if there will be one. A graph around the
  function calls it: taken in, it would be optimised anew with every call.
  """

  def __init__(self, run: Callable, *signature):
    self._run, self._signature = run, signature
    self._known = None

  def __call__(self, *arguments):
    if self._known:
      return self._known(*arguments)
    with _FIRST:
      function = self._known or self._concrete()
      result = function(*arguments)
      self._known = function
    return result

  def _concrete(self):
    attributes = {"_noinline": True}
    return tf.function(
      self._run, autograph=False, experimental_attributes=attributes
    ).get_concrete_function(*self._signature)
