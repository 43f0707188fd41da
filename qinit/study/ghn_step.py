"""One training step of a hypernetwork: the mean loss over a meta-batch of
networks on one batch of images, and its gradient.

In two stages, so that the networks can be many and different: the networks'
losses give dL/dW of the predicted parameters, which is then the output
gradient of the hypernetwork.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qinit.archs import darts
from qinit.archs.collection import Network
from qinit.data.normalise import RANGE
from qinit.functional import chains, lanes
from qinit.functional.traced import Traced
from qinit.ghn.hypernet import HyperNet
from qinit.graph.spec import NetSpec
from qinit.graph.view import GhnGraph
from qinit.quant import oscillation
from qinit.quant.affine import Affine
from qinit.quant.mixed import Mixed
from qinit.quant.quantizers import QUANTIZERS, simulate
from qinit.quant.scheme import bits_of
from qinit.quant.simulation import Simulated, Simulation
from qinit.quant.weight_range import WEIGHT_CLIPS

# Of a training step: what a node and a multiply-accumulate of the network cost,
# in seconds of a core (measured, see BUILD.md; only their ratio counts).
_NODE, _MAC = 2e-3, 3e-9


@dataclasses.dataclass(frozen=True)
class Task:
  """A network of a step.

  Attributes:
    network: as it is stored.
    how: its quantisation; None for float, `Mixed` for widths by layer.
    seed: two integers for its dropout and noise.
  """

  network: Network
  how: Simulation | Mixed | None
  seed: np.ndarray

  @property
  def seconds(self) -> float:
    """About how long a step with this network takes one core."""
    return _NODE * self.network.num_nodes + _MAC * self.network.macs


@dataclasses.dataclass(frozen=True)
class Outcome:
  """`loss` is the mean over the networks, `accuracy` (percent) too;
  `gradients` are those of what the hypernetwork has learned, in that order."""

  loss: float
  accuracy: float
  gradients: list[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Penalties:
  """Factors of what is added to a network's loss to keep training stable.

  Attributes:
    norm: of sum |W|_F over the predicted kernels (Knyazev et al., 2023).
    damping: of `oscillation.damping` of the predicted kernels at the width of
      the network's weights and in their range (Nagel et al., 2022), as they
      are before BatchNorm is folded in and without learned factors on steps;
      nothing for float networks and for those of mixed widths.
  """

  norm: float = 0.0
  damping: float = 0.0

  def of(self, params: dict, how: Simulation | Mixed | None):
    """Their sum for predicted parameters."""
    kernels = [w for key, w in params.items() if key.endswith("kernel")]
    total = tf.constant(0.0)
    if self.norm:
      total += self.norm * tf.add_n([tf.norm(w) for w in kernels])
    if self.damping and isinstance(how, Simulation):
      bits, damping = np.float64(how.weight_bits), _DAMPING[how.weight_clip]
      total += self.damping * tf.add_n([damping(w, bits) for w in kernels])
    return total


@dataclasses.dataclass(frozen=True)
class _Batch:
  """What the networks of a step are trained with; see `step`."""

  images: tf.Tensor
  labels: tf.Tensor
  share: int
  penalties: Penalties
  dtype: tf.DType

  def trained(self, spec: NetSpec, params: dict, task: Task):
    """Loss and accuracy of one network, and its share of the gradients by
    parameter of the mean loss."""
    params = dict(params)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(params)
      network = forward_of(spec, task.how, self.dtype)
      logits = network(params, self.images, training=True, seed=task.seed)
      loss, hits = _loss(logits, self.labels)
      total = loss + self.penalties.of(params, task.how)
    gradients = tape.gradient(
      total,
      params,
      output_gradients=tf.constant(1 / self.share),
      unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return loss, hits, list(gradients.values())


def step(
  ghn: HyperNet,
  tasks: Sequence[Task],
  images,
  labels,
  share: int = 0,
  penalties: Penalties = Penalties(),
  dtype=tf.float32,
) -> Outcome:
  """The outcome of a meta-batch on images [B, H, W, C] and labels [B].

  Args:
    share: networks by which losses and gradients are divided; their number by
      default, the whole meta-batch's where several workers share it.
    penalties: added to the loss that is differentiated.
    dtype: of the float networks; the hypernetwork is always in float32.
  """
  specs = [darts.build(task.network.config) for task in tasks]
  batch = _Batch(
    tf.convert_to_tensor(images),
    tf.convert_to_tensor(labels),
    share or len(tasks),
    penalties,
    dtype,
  )
  with tf.GradientTape() as tape:
    predicted = _predicted(ghn, tasks, specs)
    targets = [w for params in predicted for w in params.values()]
  found = _each(batch, specs, predicted, tasks)
  gradients = tape.gradient(
    targets,
    ghn.learned,
    output_gradients=[g for _, _, upstream in found for g in upstream],
    unconnected_gradients=tf.UnconnectedGradients.ZERO,
  )
  return Outcome(
    sum(float(loss) / batch.share for loss, _, _ in found),
    sum(100 * float(hits) / batch.share for _, hits, _ in found),
    [tf.convert_to_tensor(g) for g in gradients],
  )


def _each(batch, specs, predicted, tasks):
  """What `_Batch.trained` returns of each network; the longest go first, so
  that lanes end together."""
  order = sorted(range(len(tasks)), key=lambda i: -tasks[i].seconds)
  found = lanes.side_by_side(
    lambda i: batch.trained(specs[i], predicted[i], tasks[i]),
    order,
    lanes.count(),
  )
  by_number = dict(zip(order, found, strict=True))
  return [by_number[i] for i in range(len(tasks))]


def _predicted(ghn, tasks, specs):
  """Parameters of all networks, which the hypernetwork predicts together."""
  graphs = [ghn.view(spec) for spec in specs]
  widths = [
    widths_of(task.how, spec, graph)
    for task, spec, graph in zip(tasks, specs, graphs, strict=True)
  ]
  decoded = ghn.decode(specs, graphs, ghn.embed(graphs, widths))
  return [
    with_steps(ghn, params, task.how, graph, bits)
    for params, task, graph, bits in zip(
      decoded, tasks, graphs, widths, strict=True
    )
  ]


def widths_of(how: Simulation | Mixed | None, spec: NetSpec, graph: GhnGraph):
  """Bits of weights and activations and the scheme, of all nodes or of each
  [nodes, 3]; 0 for float and for the input."""
  if not isinstance(how, Mixed):
    return _features(how)
  by_node = how.by_node(Simulated(spec, RANGE), spec)
  return np.array(
    [_features(by_node.get(name)) for name in graph.names], np.int32
  )


def scheme_of(how: Simulation | Mixed | None) -> int:
  """What a hypernetwork is told of the scheme: 1 for logarithmic codes, 0 for
  affine ones, for the noise that stands for them and for float."""
  how = how.ways[0] if isinstance(how, Mixed) else how
  return 0 if how is None else int(not QUANTIZERS[how.quantizer].uniform)


def _features(how):
  return (*bits_of(how), scheme_of(how))


def with_steps(ghn: HyperNet, params: dict, how, graph: GhnGraph, widths):
  """The parameters, and the learned quantisation steps if `how` has such."""
  ways = how.ways if isinstance(how, Mixed) else (how,)
  if any(way and way.weight_clip == "learned" for way in ways):
    return params | ghn.log_steps(graph, widths)
  return params


def forward_of(spec, how, dtype=None):
  """The network, float (None) or quantised by `how`, a `Simulation`, one for
  each node or `Mixed`: a function of parameters, images, whether with dropout,
  and seed, that gives logits."""
  if how is None:
    return functools.partial(_float, spec, dtype)
  network = Simulated(spec, RANGE)
  how = how.of(network) if isinstance(how, Mixed) else how
  return lambda params, images, training, seed: network.forward(
    params, images, how, training, seed
  )


def _float(spec, dtype, params, images, training, seed):
  if dtype not in (None, tf.float32):
    params = {key: _cast(key, w, dtype) for key, w in params.items()}
    images = tf.cast(images, dtype)
  logits = chains.forward(spec, params, images, training, seed)
  return tf.cast(logits, tf.float32)


def _cast(key, w, dtype):
  """BatchNorm keeps its parameters and statistics in float32."""
  return w if key.endswith(("gamma", "beta")) else tf.cast(w, dtype)


def _mean_loss(logits, labels):
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
  hits = tf.cast(tf.argmax(logits, -1) == labels, tf.float32)
  return tf.reduce_mean(losses), tf.reduce_mean(hits)


def _damping(clip, kernel, bits):
  lo, hi = clip(tf.stop_gradient(kernel))
  quantised = simulate(kernel, lo, hi, Affine.of_bounds(lo, hi, bits))
  return oscillation.damping(kernel, quantised, lo, hi)


_loss = Traced(
  _mean_loss, tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int64)
)
_DAMPING = {
  name: Traced(
    functools.partial(_damping, clip),
    tf.TensorSpec(None),
    tf.TensorSpec([], tf.float64),
  )
  for name, clip in WEIGHT_CLIPS.items()
}
