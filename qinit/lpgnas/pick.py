"""A choice that is known when the graph is traced, or only when it runs."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def pick(index, branches: Sequence[Callable], *inputs):
  """branches[index](*inputs), the only branch that is executed, forward and
  back.

  Args:
    index: a Python number, then no other branch is even traced, or a scalar
      tensor. Then going back runs the branch again under a tape of its own
      (what the gradient does not need is pruned): TensorFlow's own gradient of
      a switch keeps the intermediates of all branches.
    branches: functions of tensors alone, with results of one shape.
    inputs: structures of tensors; gradients reach those of float.
  """
  if not tf.is_tensor(index):
    return branches[index](*inputs)
  flat = tf.nest.flatten(inputs)

  def call(branch, tensors):
    return branch(*tf.nest.pack_sequence_as(inputs, tensors))

  @tf.custom_gradient
  def run(*tensors):
    y = tf.switch_case(index, [lambda b=b: call(b, tensors) for b in branches])

    def gradient(dy):
      found = tf.switch_case(
        index, [lambda b=b: _gradients(call, b, tensors, dy) for b in branches]
      )
      found = iter(tf.nest.flatten(found))
      return [next(found) if x.dtype.is_floating else None for x in tensors]

    return y, gradient

  return run(*flat)


def _gradients(call, branch, tensors, dy):
  """Of the tensors of float."""
  tensors = [tf.identity(x) for x in tensors]  # one may be there twice
  floats = [x for x in tensors if x.dtype.is_floating]
  with tf.GradientTape() as tape:
    tape.watch(floats)
    y = call(branch, tensors)
  found = tape.gradient(y, floats, dy, unconnected_gradients="zero")
  return [tf.convert_to_tensor(g) for g in found]
