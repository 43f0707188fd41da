"""Three optimisation steps of the reference, gradients and all."""

import numpy as np
import pytest
import tensorflow as tf

from qinit.functional.forward import forward
from qinit.ghn.checkpoint import from_state_dict, published_shapes
from tests.ghn import reference
from tests.ghn.test_golden import CONFIGS, formula, golden


class Adam:
  """Adam with coupled L2 behind a clipping to global norm 5."""

  def __init__(self, variables):
    self.variables, self.t = variables, 0
    self.m = [tf.zeros_like(v) for v in variables]
    self.v = [tf.zeros_like(v) for v in variables]

  def step(self, gradients):
    self.t += 1
    factor = min(1.0, 5 / (tf.linalg.global_norm(gradients) + 1e-6))
    for i, (w, g) in enumerate(zip(self.variables, gradients, strict=True)):
      g = g * factor + 1e-5 * w
      self.m[i] = 0.9 * self.m[i] + 0.1 * g
      self.v[i] = 0.999 * self.v[i] + 0.001 * g**2
      m, v = self.m[i] / (1 - 0.9**self.t), self.v[i] / (1 - 0.999**self.t)
      w.assign_sub(1e-3 * m / (tf.sqrt(v) + 1e-8))


def test_training_steps():
  train = golden()["train"]
  specs = [reference.golden_spec(golden()["archs"][a]) for a in train["archs"]]
  images = np.random.RandomState(8).randn(16, 3, 32, 32).astype(np.float32)
  images = images.transpose(0, 2, 3, 1)
  labels = np.random.RandomState(9).randint(0, 10, 16)
  config = CONFIGS["ghn2"]
  shapes = published_shapes(config).items()
  state = {n: formula(t, n, s) for t, (n, s) in enumerate(shapes)}
  ghn = from_state_dict(config, state)
  variables = list(ghn.weights.values())
  adam = Adam(variables)
  for number, expected in enumerate(train["steps"]):
    with tf.GradientTape() as tape:
      losses = [
        tf.reduce_mean(
          tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels, forward(spec, params, images)
          )
        )
        for spec, params in zip(specs, ghn.predict_batch(specs), strict=True)
      ]
      loss = sum(losses) / len(losses)
    gradients = [
      tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)
    ]
    # Adam's first update is the gradients' signs, also of those that are
    # rounding noise: another order of the 16 images alone moves the second
    # step's gradient norms by 5 % and the third step's losses by 1 %.
    if number == 0:
      norms = expected["grad_norms_before_clip"]
      check([tf.norm(g) for g in gradients], [norms[n] for n in ghn.weights])
    if number < 2:
      check(losses, expected["losses"])
    adam.step(gradients)
    after = expected["param_l2_after_step"]
    check([tf.norm(v) for v in variables], [after[n] for n in ghn.weights])


def check(ours, theirs):
  assert [float(x) for x in ours] == pytest.approx(theirs, rel=1e-3)
