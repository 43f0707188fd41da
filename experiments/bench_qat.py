"""The suite `qat`: our 8-bit training beside TFMOT's default scheme.

The same network, trained in float on the digits for two epochs, the same data,
order, optimiser and number of steps. Three minutes on two cores.
"""

import statistics
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from qinit import keras
from qinit.archs import zoo
from qinit.data import catalogue
from qinit.data.dataset import scaled
from qinit.export import tflite
from qinit.export.runtime import Parity, Runtime
from qinit.graph import ops
from qinit.graph.spec import NetSpec
from qinit.params.initializers import initial_params
from qinit.quant.integer import IntegerNetwork
from qinit.quant.tfmot import QatScheme, QatSettings, deploy, quantize_model
from qinit.study.tfmot_default import TfmotDefault

Row = tuple[str, str, str]
_ARCH, _WIDTH, _BATCH, _FLOAT_EPOCHS, _EPOCHS = "dws_conv_bn", 0.25, 32, 6, 3
_TIMED, _ROUNDS = 30, 5
_SETTINGS = QatSettings(8, 8)


def run() -> Iterator[Row]:
  """(name, value, goal) as they are measured."""
  data = catalogue.load("digits")
  images, labels = scaled(data.train_images), data.train_labels
  test, answers = scaled(data.test_images), data.test_labels
  spec = _spec()
  model = _trained(spec, images, labels)

  def accuracy(logits):
    return 100 * float(np.mean(logits.argmax(-1) == answers))

  yield "float accuracy", _number(accuracy(keras.predict(model, test))), "none"
  theirs = TfmotDefault(spec, keras.params(model))
  pair = {
    "ours": quantize_model(model, QatScheme(images[:512], _SETTINGS, (0, 1))),
    "TFMOT": theirs.keras,
  }
  for name, quantised in pair.items():
    found = accuracy(keras.predict(quantised, test))
    yield f"accuracy before the first step, {name}", _number(found), "none"
  for epoch in range(1, _EPOCHS + 1):
    for name, quantised in pair.items():
      _fit(quantised, images, labels, 1)
      found = accuracy(keras.predict(quantised, test))
      if epoch in (1, _EPOCHS):
        when = f"after {epoch} epoch{'s' * (epoch > 1)}"
        yield f"accuracy {when}, {name}", _number(found), "none"
  shares = {
    "ours": _equal_codes(pair["ours"], spec, test),
    "TFMOT": theirs.measured(test, answers)["graph_equal_codes"],
  }
  for name, equal in shares.items():
    yield f"codes of graph and file equal, {name}", f"{equal:.2f} %", "none"
  yield _time_per_step(pair, images, labels)


def _spec() -> NetSpec:
  """Without dropout, and with statistics that a few hundred steps suffice
  for."""
  spec = zoo.build(_ARCH, _WIDTH)
  changed: dict[str, ops.Op] = {
    "batch_norm": ops.BatchNorm(momentum=0.9),
    "dropout": ops.Dropout(0.0),
  }
  nodes = (
    type(n)(n.name, changed.get(n.op.name, n.op), n.inputs) for n in spec.nodes
  )
  return NetSpec(spec.input_shape, tuple(nodes))


def _trained(spec, images, labels):
  tf_keras.utils.set_random_seed(0)
  model = keras.build(spec)
  keras.assign(model, initial_params(spec, "glorot_uniform", 0))
  _compile(model)
  _fit(model, images, labels, _FLOAT_EPOCHS)
  return model


def _compile(model):
  model.compile(
    tf_keras.optimizers.SGD(0.01, momentum=0.9),
    tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )


def _fit(model, images, labels, epochs):
  if getattr(model, "optimizer", None) is None:
    _compile(model)
  tf_keras.utils.set_random_seed(1)
  model.fit(images, labels, batch_size=_BATCH, epochs=epochs, verbose=0)


def _equal_codes(model, spec, test):
  """Percent of logit codes that the graph and the file in LiteRT share."""
  job = deploy(model, spec, _SETTINGS)
  network = IntegerNetwork(job.spec, job.params, job.ranges, job.scheme)
  codes = Runtime(tflite.lower(network.quantized)).output_codes(
    network.input_codes(test)
  )
  affine = network.affines[network.placement.output]
  graph = affine.quantize(keras.predict(model, test))
  return Parity.of(graph, codes).equal


def _time_per_step(pair, images, labels) -> Row:
  """In turn, so that a busy machine slows both."""
  x, y = tf.constant(images[:128]), tf.constant(labels[:128])
  steps = {name: _step(model) for name, model in pair.items()}
  times: dict[str, list[float]] = {name: [] for name in steps}
  for _ in range(_ROUNDS + 1):
    for name, step in steps.items():
      start = time.perf_counter()
      for _ in range(_TIMED):
        step(x, y)
      times[name].append(time.perf_counter() - start)
  ratios = zip(times["ours"][1:], times["TFMOT"][1:], strict=True)
  ratio = statistics.median(a / b for a, b in ratios)
  return "time per step, ours over TFMOT's", f"{ratio:.2f}", "at most 1.25"


def _step(model):
  optimizer = tf_keras.optimizers.SGD(1e-4, momentum=0.9)
  optimizer.build(model.trainable_variables)

  @tf.function
  def step(x, y):
    with tf.GradientTape() as tape:
      logits = model(x, training=True)
      loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
      )
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))

  return step


def _number(value):
  return f"{value:.1f} %"
