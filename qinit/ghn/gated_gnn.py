"""Gated message passing by topological level (Eq. 3 and 4 of GHN-2).

A sweep visits the nodes so that each, v, follows those that it hears from, u:

    m_v = sum_{d(u, v) = 1} f1(h_u) + sum_{d(u, v) >= 1} f2(h_u) / d(u, v)
    h_v = GRU(m_v, x_v)

(the second sum, over the virtual edges, includes the direct neighbours, as in
the published code and unlike Eq. 4 of the paper). Nodes that do not depend on
each other share a step, those of all graphs together. Each step has `LANES`
places per graph, so that step s of every graph is rows s * LANES ... of dense
arrays and one compiled loop serves all networks: nothing is traced per
network, only once per bucket of steps and of graphs.
"""

import dataclasses

import numpy as np
import tensorflow as tf

# The operation is registered with TensorFlow but missing from tf.raw_ops.
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_dynamic_update_slice

from qinit.ghn.rounding import round_to_one_of, untouched
from qinit.graph.sweep import LANES
from qinit.graph.view import GhnGraph

_BUCKETS = (
  32,
  64,
  96,
  128,
  160,
  192,
  256,
  384,
  512,
  768,
  1024,
  1536,
  2048,
  2560,
)


@dataclasses.dataclass(frozen=True)
class Schedule:
  """One sweep over B graphs, padded to P = steps * LANES rows each.

  Attributes:
    place: [N] for each node of the meta-batch its row of B * P.
    node: [B * P] the node in each row; rows of padding have node 0.
    distance: [B, P, P] uint8 (hearer, speaker); 0 without an edge.
    steps: [2], or [1] for one graph: of each half of the graphs, the steps
      that are not padding.
  """

  place: np.ndarray
  node: np.ndarray
  distance: np.ndarray
  steps: np.ndarray


def schedules(graphs: list[GhnGraph]) -> tuple[Schedule, Schedule]:
  """The forward and the backward sweep over a meta-batch."""
  forward, backward = zip(*(g.sweeps for g in graphs), strict=True)
  most = max(s.steps for s in forward + backward)
  bucket = next(size for size in _BUCKETS if size >= most)
  return _schedule(forward, bucket), _schedule(backward, bucket)


def arguments(forward: Schedule, backward: Schedule) -> dict[str, np.ndarray]:
  """What `propagate` takes as `plan`; its shapes are those of the bucket."""
  return {
    "forward": forward.distance,
    "forward_steps": forward.steps,
    "between": forward.place[backward.node].astype(np.int32),
    "backward": backward.distance,
    "backward_steps": backward.steps,
  }


def propagate(x: tf.Tensor, cell: dict, plan: dict, tap=untouched):
  """Node states after both sweeps, in the backward sweep's rows [B * P, hid],
  from `x` in those of the forward sweep. To be called in a tf.function. `tap`
  is shown the states and the messages of each sweep."""
  x = _halves(x, plan["forward"], plan["forward_steps"], cell)
  _show(tap, cell, x)
  x = tf.gather(x, plan["between"])
  x = _halves(x, plan["backward"], plan["backward_steps"], cell)
  _show(tap, cell, x)
  return x


def _show(tap, cell, states):
  """What `tap` makes of these is dropped: they are rounded in the sweep."""
  tap("states", states)
  tap("messages", _messages(cell, states))


def _halves(x, distance, steps, cell):
  """A sweep over each half of the graphs, which run side by side."""
  parts = steps.shape[0]
  rows, distances = tf.split(x, parts), tf.split(distance, parts)
  swept = [
    sweep(r, d, s, cell)
    for r, d, s in zip(rows, distances, tf.unstack(steps), strict=True)
  ]
  return tf.concat(swept, 0)


def node_states(weights: dict, x: tf.Tensor) -> tf.Tensor:
  """The MLP baseline: every node by itself, no edges."""
  for layer in ("gnn.fc.0", "gnn.fc.2"):
    x = tf.nn.relu(x @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"])
  return x


def _schedule(sweeps, bucket):
  size = bucket * LANES
  count = 1 << (len(sweeps) - 1).bit_length()
  distance = np.zeros([count, size, size], np.uint8)
  steps = np.zeros([count], np.int32)
  for b, sweep in enumerate(sweeps):
    rows = len(sweep.distance)
    distance[b, :rows, :rows] = sweep.distance
    steps[b] = sweep.steps
  steps = steps.reshape([min(count, 2), -1]).max(1)
  place = np.concatenate([s.place + b * size for b, s in enumerate(sweeps)])
  node = np.zeros(count * size, np.int32)
  node[place] = np.arange(len(place))
  return Schedule(place, node, distance, steps)


def cell_weights(weights: dict) -> dict[str, tf.Tensor]:
  """The weights of a sweep; f1 and f2 side by side in one MLP."""
  mlps = ["gnn.mlp"] + ["gnn.mlp_ve"] * ("gnn.mlp_ve.fc.0.weight" in weights)

  def each(name):
    return [tf.convert_to_tensor(weights[f"{mlp}.fc.{name}"]) for mlp in mlps]

  return {
    "hidden": tf.concat(each("0.weight"), 1),
    "hidden_bias": tf.concat(each("0.bias"), 0),
    "out": tf.stack(each("2.weight")),
    "out_bias": tf.stack(each("2.bias")),
    "input": tf.convert_to_tensor(weights["gnn.gru.weight_ih"]),
    "input_bias": tf.convert_to_tensor(weights["gnn.gru.bias_ih"]),
    "state": tf.convert_to_tensor(weights["gnn.gru.weight_hh"]),
    "state_bias": tf.convert_to_tensor(weights["gnn.gru.bias_hh"]),
  }


def _messages(cell, h):
  """f1(h), f2(h) of states [R, hid]: [M, R, hid]."""
  mlps = cell["out"].shape[0]
  hidden = tf.nn.relu(h @ cell["hidden"] + cell["hidden_bias"])
  hidden = tf.stack(tf.split(hidden, mlps, axis=1))
  words = tf.nn.relu(hidden @ cell["out"] + cell["out_bias"][:, None])
  return _stored(cell, "messages", words)


def _state_gates(cell, x):
  return x @ cell["state"] + cell["state_bias"]


def _gru(cell, m, x, gates):
  """PyTorch's GRU cell: the reset gate acts behind the state's product."""
  r, z, n = tf.split(m @ cell["input"] + cell["input_bias"], 3, axis=-1)
  hr, hz, hn = tf.split(gates, 3, axis=-1)
  z = tf.sigmoid(z + hz)
  n = tf.tanh(n + tf.sigmoid(r + hr) * hn)
  return _stored(cell, "states", (1 - z) * n + z * x)


def _stored(cell, name, x):
  """`x` as the nodes keep it: on one of several grids where there are such
  (`rounding.round_to_one_of`), whose choice is learned as the weights are."""
  return round_to_one_of(x, cell["grids"][name]) if "grids" in cell else x


def _edge_weights(distance, mlps):
  """[mlps, B, P, P]: 1 for direct neighbours, then 1 / d for all."""
  near = tf.cast(distance == 1, tf.float32)
  far = tf.math.divide_no_nan(1.0, tf.cast(distance, tf.float32))
  return tf.stack([near, far][:mlps])


def _rows(edges, s):
  """[mlps, B, LANES, P]: what the places of step `s` hear."""
  *outer, _, places = edges.shape
  return tf.slice(edges, [0, 0, s * LANES, 0], [*outer, LANES, places])


def _by_step(x):
  """[..., B, steps * LANES, C] -> [steps, ..., B, LANES, C]."""
  *outer, places, width = x.shape
  x = tf.reshape(x, [*outer, places // LANES, LANES, width])
  n = len(outer)
  return tf.transpose(x, [n, *range(n), n + 1, n + 2])


@tf.function(jit_compile=True, autograph=False)
def sweep(x, distance, steps, cell):
  """States [B * P, hid] after a sweep from `x` [B * P, hid].

  Args:
    distance: [B, P, P], see `Schedule`.
    steps: scalar; the steps after it are padding.
    cell: from `cell_weights`; with `grids` of messages and states, these are
      rounded.

  The gradient is that of the fixed point h = G(h, x): the sensitivity
  s = dL/dh + (dG/dh)' s is solved by a sweep the other way round, then one
  product with all of G's derivatives gives the rest, that of a choice among
  grids included. So nothing is stored per step.
  """
  rows = tf.reshape(x, [*distance.shape[:2], x.shape[1]])

  @tf.custom_gradient
  def solve(rows, cell):
    h = _solve(rows, distance, steps, cell)

    def gradient(upstream):
      return _gradient(rows, h, upstream, distance, steps, cell)

    return h, gradient

  return tf.reshape(solve(rows, cell), x.shape)


def _solve(x, distance, steps, cell):
  mlps, (batch, places, hid) = cell["out"].shape[0], x.shape
  edges = _edge_weights(distance, mlps)
  inputs, gates = _by_step(x), _by_step(_state_gates(cell, x))

  def step(s, h, spoken):
    m = tf.reduce_sum(_rows(edges, s) @ spoken, 0)
    new = _gru(cell, m, inputs[s], gates[s])
    words = _messages(cell, tf.reshape(new, [-1, hid]))
    words = tf.reshape(words, [mlps, batch, LANES, hid])
    h = xla_dynamic_update_slice(h, new, [0, s * LANES, 0])
    spoken = xla_dynamic_update_slice(spoken, words, [0, 0, s * LANES, 0])
    return s + 1, h, spoken

  silence = tf.zeros([mlps, batch, places, hid])
  start = (tf.constant(0), tf.zeros_like(x), silence)
  return tf.while_loop(lambda s, *_: s < steps, step, start)[1]


def _gradient(x, h, upstream, distance, steps, cell):
  mlps, hid = cell["out"].shape[0], x.shape[-1]
  edges = _edge_weights(distance, mlps)
  hearers = _edge_weights(tf.linalg.matrix_transpose(distance), mlps)

  def messages(states):
    words = _messages(cell, tf.reshape(states, [-1, hid]))
    return tf.reshape(words, [mlps, *states.shape])

  m = tf.reduce_sum(edges @ messages(h), 0)
  by_step = [_by_step(t) for t in (m, x, h, upstream, _state_gates(cell, x))]

  def step(s, dm, sensitivity):
    ms, xs, hs, above, gates = (t[s] for t in by_step)
    with tf.GradientTape(persistent=True) as tape:
      tape.watch([ms, hs])
      words, new = messages(hs), _gru(cell, ms, xs, gates)
    above += tape.gradient(words, hs, _rows(hearers, s) @ dm[None])
    below = tape.gradient(new, ms, above)
    dm = xla_dynamic_update_slice(dm, below, [0, s * LANES, 0])
    sensitivity = xla_dynamic_update_slice(
      sensitivity, above, [0, s * LANES, 0]
    )
    return s - 1, dm, sensitivity

  start = (steps - 1, tf.zeros_like(x), tf.zeros_like(x))
  sensitivity = tf.while_loop(lambda s, *_: s >= 0, step, start)[2]
  with tf.GradientTape() as tape:
    tape.watch([x, cell])
    m = tf.reduce_sum(edges @ messages(h), 0)
    new = _gru(cell, m, x, _state_gates(cell, x))
  return tape.gradient(new, [x, cell], sensitivity)
