"""Steps of a training whose loss or gradient is not finite."""

import tensorflow as tf

_PATIENCE, _FACTOR, _MOST = 3, 0.5, 4


class BackOff(tf.Module):
  """Counts the steps that are skipped. Three in a row halve the learning rate;
  after four halvings the training has diverged. In variables that its
  checkpoints hold."""

  def __init__(self):
    super().__init__(name="back_off")
    self._skipped, self._in_a_row, self._times = (
      tf.Variable(0, dtype=tf.int64) for _ in range(3)
    )

  @property
  def skipped(self) -> int:
    """Steps that changed nothing."""
    return int(self._skipped)

  @property
  def in_a_row(self) -> int:
    """Steps skipped since the last that was not."""
    return int(self._in_a_row)

  @property
  def times(self) -> int:
    """How often the rate was halved."""
    return int(self._times)

  @property
  def factor(self) -> float:
    """What the learning rate is multiplied by."""
    return _FACTOR**self.times

  @property
  def diverged(self) -> bool:
    """Whether lower rates have not helped."""
    return self.times > _MOST

  def passed(self) -> None:
    """A step was finite."""
    self._in_a_row.assign(0)

  def skip(self) -> None:
    """A step was not."""
    self._skipped.assign_add(1)
    self._in_a_row.assign_add(1)
    if self.in_a_row % _PATIENCE == 0:
      self._times.assign_add(1)
