"""The learning curve of a hypernetwork's training."""

import tensorflow as tf

_PARTS = 200  # of a training: a point each


class LearningCurve(tf.Module):
  """Means of loss and accuracy over each part of a training, in a variable
  that its checkpoints hold."""

  def __init__(self):
    super().__init__(name="curve")
    # Of each part the sums of loss and accuracy, and the steps.
    self.sums = tf.Variable(tf.zeros([_PARTS, 3], tf.float64))

  def add(self, step: int, steps: int, loss: float, accuracy: float) -> None:
    """Counts step number `step` of `steps`."""
    part = min(step * _PARTS // steps, _PARTS - 1)
    self.sums.scatter_nd_add([[part]], [[loss, accuracy, 1.0]])

  def points(self, done: int, steps: int) -> list[tuple[int, float, float]]:
    """The last step, mean loss and mean accuracy of each part, after `done` of
    `steps`."""
    found = []
    for i, (loss, accuracy, count) in enumerate(self.sums.numpy()):
      if count:
        last = min(-(-steps * (i + 1) // _PARTS), done)
        found.append((last, loss / count, accuracy / count))
    return found
