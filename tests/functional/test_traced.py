"""A traced function is traced once, whoever calls it first."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from qinit.functional.traced import Traced


def test_threads_that_call_first_at_once_trace_once():
  traces = []

  def square(x):
    traces.append(threading.get_ident())
    time.sleep(0.2)  # the other threads arrive meanwhile
    return x * x

  function = Traced(square, tf.TensorSpec([None]))

  def gradient(number):
    x = tf.constant([float(number), 1.0])
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = function(x)
    return tape.gradient(y, x).numpy()

  with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(gradient, range(4)))
  np.testing.assert_array_equal(found, [[2.0 * i, 2.0] for i in range(4)])
  assert len(traces) == 1


def test_a_first_call_that_fails_leaves_it_usable():
  function = Traced(lambda x, y: x / y, *[tf.TensorSpec([None])] * 2)
  ones = tf.ones([2])
  with pytest.raises(TypeError):
    function(ones)
  np.testing.assert_array_equal(function(ones, 2 * ones), [0.5, 0.5])


def test_a_graph_calls_it_instead_of_taking_it_in():
  function = Traced(lambda x: tf.nn.relu(x), tf.TensorSpec([None]))
  outer = tf.function(function).get_concrete_function(tf.TensorSpec([None]))
  kinds = {op.type for op in outer.graph.get_operations()}
  assert "Relu" not in kinds
  assert any("PartitionedCall" in kind for kind in kinds)
