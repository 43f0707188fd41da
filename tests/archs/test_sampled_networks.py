"""Networks of every split run: connected, trainable, equal in both forms."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qinit import keras
from qinit.archs import darts, sampler
from qinit.archs.count import count
from qinit.archs.space import PAPER
from qinit.functional.forward import forward
from qinit.graph.view import view
from tests.quant_nets import random_params

_NARROW, _SIZE = 4, 16


def narrow(stream, first=0, smallest=0, among=0):
  """The first networks of a split, and of those that follow the smallest,
  all four channels wide."""
  candidates = filter(
    None,
    (sampler.candidate(PAPER[stream], 0, stream, i) for i in itertools.count()),
  )
  chosen = list(itertools.islice(candidates, first))
  others = list(itertools.islice(candidates, among))
  others.sort(key=lambda config: count(config).num_nodes)
  for config in (*chosen, *others[:smallest]):
    small = dataclasses.replace(config, C=_NARROW, fc_dim=8)
    yield darts.build(small, (_SIZE, _SIZE, 3))


def check(spec, seed):
  graph = view(spec)
  assert set().union(*graph.keys) == set(spec.trainable_specs())
  assert spec.shapes()[spec.output] == (10,)
  x = tf.constant(
    np.random.default_rng(seed).normal(size=(4, _SIZE, _SIZE, 3)), tf.float32
  )
  check_gradients(spec, x)
  check_keras(spec, random_params(spec, seed), x)


def check_gradients(spec, x):
  """Batch statistics, as in training. Four channels may all be dead behind
  a ReLU, but not for every draw of the parameters."""
  unreached = set(spec.trainable_specs())
  for seed in range(8):
    unreached -= reached(spec, random_params(spec, seed), x)
    if not unreached:
      return
  raise AssertionError(f"no gradient for {sorted(unreached)}")


def reached(spec, params, x):
  """The parameters with a gradient that is not zero."""
  trained = {k: tf.constant(params[k]) for k in spec.trainable_specs()}
  with tf.GradientTape() as tape:
    tape.watch(trained)
    logits = forward(spec, trained, x)
    loss = tf.reduce_mean(
      tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 2, 3], logits)
    )
  assert logits.shape == (4, 10)
  gradients = tape.gradient(loss, trained)
  assert np.isfinite(loss) and all(
    map(np.all, map(np.isfinite, gradients.values()))
  )
  return {key for key, gradient in gradients.items() if np.any(gradient)}


def check_keras(spec, params, x):
  model = keras.build(spec)
  keras.assign(model, params)
  ours, theirs = forward(spec, params, x), model(x, training=False)
  scale = np.abs(theirs).max()
  np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-4)
  tf_keras.backend.clear_session()


@pytest.mark.parametrize("stream", PAPER)
def test_twenty_networks_run(stream):
  """Small ones: a Keras model takes 3 ms per layer to build."""
  for seed, spec in enumerate(narrow(stream, smallest=20, among=2000)):
    check(spec, seed)


@pytest.mark.long
@pytest.mark.parametrize("stream", PAPER)
def test_two_hundred_networks_run(stream):
  chosen = narrow(stream, first=20, smallest=180, among=4000)
  for seed, spec in enumerate(chosen):
    check(spec, seed)
