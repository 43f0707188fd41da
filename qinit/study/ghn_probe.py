"""Do the codes of predicted weights jump to and fro while a hypernetwork is
trained? Looked at in one network that stays the same."""

import tensorflow as tf

from qinit.archs import darts
from qinit.archs.collection import Network
from qinit.ghn.hypernet import HyperNet
from qinit.quant import oscillation
from qinit.quant.affine import Affine
from qinit.quant.oscillation import State
from qinit.quant.weight_range import WEIGHT_CLIPS

EVERY = 10  # steps from look to look
_WEIGHTS = 20_000  # at most so many are followed, evenly spread


class Probe(tf.Module):
  """Follows the codes of a network's predicted kernels from look to look
  (Nagel et al., 2022; BatchNorm is not folded in, for it is the batch's, nor
  are steps learned).

  Args:
    bits: width of the codes.
    clip: a row of WEIGHT_CLIPS, the range of the codes.
  """

  def __init__(
    self, ghn: HyperNet, network: Network, bits: int, clip: str = "absolute"
  ):
    super().__init__(name="probe")
    self._ghn, self._spec = ghn, darts.build(network.config)
    self._bits, self._clip = bits, WEIGHT_CLIPS[clip]
    count = len(self._codes())
    # The rows of `State`, and whether there was a look before.
    self.state = tf.Variable(tf.zeros([5, count]))
    self.looked = tf.Variable(False)

  def look(self) -> None:
    """Compares the codes with those of the last look."""
    codes = self._codes()
    state = State(*tf.unstack(self.state))
    if self.looked:
      state = oscillation.follow(state, codes)
    else:
      state = State(
        codes, state.direction, state.frequency, codes, state.frozen
      )
    self.state.assign(tf.stack(list(vars(state).values())))
    self.looked.assign(True)

  def oscillating(self) -> float:
    """Percent of the weights whose code turns back more often than in every
    200th look."""
    return oscillation.rate(self.state[2])

  def _codes(self):
    params = self._ghn.predict(self._spec, (self._bits, self._bits))
    codes = [
      _codes(w, *self._clip(w), self._bits)
      for key, w in params.items()
      if key.endswith("kernel")
    ]
    flat = tf.concat(codes, 0)
    return flat[:: max(1, len(flat) // _WEIGHTS)]


def _codes(kernel, lo, hi, bits):
  affine = Affine.of_bounds(lo, hi, bits)
  codes = tf.round(tf.reshape(kernel, [-1]) / affine.scale)
  return tf.clip_by_value(
    codes + tf.cast(affine.zero_point, tf.float32), 0.0, float(affine.levels)
  )
