"""Graph hypernetworks: NetSpec -> parameters (Knyazev et al., 2021)."""

import numpy as np
import tensorflow as tf

from qinit.errors import CheckpointError, SpecError
from qinit.ghn import decoder, embed, gated_gnn
from qinit.ghn.config import GhnConfig
from qinit.ghn.plan import Plan
from qinit.ghn.weights import check_shapes, initial_weights, weight_shapes
from qinit.graph.spec import NetSpec
from qinit.graph.view import GhnGraph, view


class HyperNet(tf.Module):
  """A hypernetwork with its weights as `tf.Variable`s.

  Attributes:
    config: GhnConfig.
    weights: variables by name, in the order of `weight_shapes`.

  Raises:
    CheckpointError: if a weight is missing, unknown or of another shape.
  """

  def __init__(self, config: GhnConfig, weights: dict | None = None):
    super().__init__(name="ghn")
    weights = initial_weights(config) if weights is None else weights
    check_shapes(weights, weight_shapes(config))
    self.config = config
    self.weights = {
      name: tf.Variable(weights[name], name=name)
      for name in weight_shapes(config)
    }
    # Traced once per bucket of graphs, and once for networks of any size.
    self._embed = tf.function(self._embed_graph, autograph=False)
    self._embed_alone = tf.function(
      self._embed_alone_graph,
      [
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, 4], tf.int32),
        tf.TensorSpec([None, 3], tf.int32),
      ],
      autograph=False,
    )
    rows = tf.TensorSpec([None, config.hid])
    self._decode = tf.function(
      self._decode_graph, [rows, decoder.PLAN_SIGNATURE], autograph=False
    )

  @property
  def learned(self) -> list[tf.Variable]:
    """What a training step differentiates, in the order of its gradients."""
    return list(self.weights.values())

  def read(self) -> dict:
    """The weights as they are computed with, by name."""
    return self.weights

  def cell(self, weights: dict) -> dict:
    """The cell of the message passing, from what `read` returns."""
    return gated_gnn.cell_weights(weights)

  def tap(self, name: str, x: tf.Tensor) -> tf.Tensor:
    """Is shown what is stored on the way from a graph to its parameters:
    features, messages and states of nodes, their embeddings, the decoder's
    hidden layers. What it returns is gone on with."""
    return x

  def predict(self, spec: NetSpec, widths=(0, 0)) -> dict[str, tf.Tensor]:
    """All trainable parameters of `spec` by "node/role"; differentiable in
    the variables. `widths`: as one of `embed`.

    Raises:
      SpecError: for a network that the hypernetwork cannot parameterise.
    """
    return self.predict_batch([spec], [widths])[0]

  def predict_batch(self, specs: list[NetSpec], widths=None) -> list[dict]:
    """`predict` for a meta-batch: one message passing for all networks."""
    graphs = [self.view(spec) for spec in specs]
    return self.decode(specs, graphs, self.embed(graphs, widths))

  def view(self, spec: NetSpec) -> GhnGraph:
    """The graph of `spec` with this hypernetwork's virtual edges; raises
    SpecError if it cannot parameterise the network."""
    graph = view(spec, self.config.virtual_edge)
    _check_graph(self.config, spec, graph)
    return graph

  def embed(self, graphs: list[GhnGraph], widths=None) -> tf.Tensor:
    """Node states [N, hid] after message passing and LayerNorm, the nodes of
    all graphs one after the other.

    Args:
      widths: of each graph the bits of weights and activations, 0 for float,
        and the scheme (1 for logarithmic codes, 0 if left out), once or for
        each node; without them all is float. What is not a node feature
        (`GhnConfig.widths` and `schemes`) is ignored.
    """
    bits = _node_widths(graphs, widths)
    primitive = np.concatenate([g.primitive for g in graphs])
    shapes = np.concatenate([g.shape for g in graphs])
    indices = embed.shape_indices(
      shapes, self.config.num_classes, self.config.max_kernel
    )
    if self.config.hypernet == "mlp":
      return self._embed_alone(primitive, indices, bits)
    forward, backward = gated_gnn.schedules(graphs)
    rows = self._embed(
      primitive[forward.node],
      indices[forward.node],
      bits[forward.node],
      gated_gnn.arguments(forward, backward),
    )
    return tf.gather(rows, backward.place)

  def decode(self, specs, graphs, states: tf.Tensor) -> list[dict]:
    """Parameters of each network from the node states of all."""
    plan = Plan(
      specs, graphs, self.config.max_channels, self.config.weight_norm
    )
    return plan.assemble(*self._decode(states, plan.arrays))

  def log_steps(self, graph: GhnGraph, widths) -> dict[str, tf.Tensor]:
    """The logarithm of the factor on the quantisation step of each kernel, by
    "node/log_step". `widths`: as one of `embed`.

    Raises:
      CheckpointError: if the hypernetwork has learned none.
    """
    if not self.config.learned_steps:
      raise CheckpointError(
        "the hypernetwork has learned no quantisation steps: use"
        " --weight_clip=absolute"
      )
    kernels = {
      key: (graph.primitive[i], bits)
      for i, (bits, *_) in enumerate(_node_widths([graph], [widths]))
      for key in graph.keys[i]
      if key.endswith("kernel")
    }
    rows = tf.gather_nd(self.weights["step.kernels"], list(kernels.values()))
    names = [key.rsplit("/", 1)[0] for key in kernels]
    return {
      f"{name}/log_step": row
      for name, row in zip(names, tf.unstack(rows), strict=True)
    }

  def _embed_graph(self, primitive, indices, bits, plan):
    weights = self.read()
    x = embed.node_features(weights, primitive, indices, bits)
    cell, x = self.cell(weights), self.tap("features", x)
    return self._normalised(gated_gnn.propagate(x, cell, plan, self.tap))

  def _embed_alone_graph(self, primitive, indices, bits):
    weights = self.read()
    x = embed.node_features(weights, primitive, indices, bits)
    x = self.tap("features", x)
    return self._normalised(gated_gnn.node_states(weights, x))

  def _normalised(self, x):
    if self.config.layernorm:
      x = _layer_norm(x, self.weights["ln.weight"], self.weights["ln.bias"])
    return self.tap("embeddings", x)

  def _decode_graph(self, states, plan):
    norm = self.config.weight_norm
    return decoder.decode(self.read(), norm, states, plan, self.tap)


def _node_widths(graphs, widths):
  """Bits of weights and activations, and the scheme, of all nodes [N, 3]."""
  widths = widths or [(0, 0)] * len(graphs)
  rows = [np.zeros([len(graph), 3], np.int32) for graph in graphs]
  for row, bits in zip(rows, widths, strict=True):
    row[:, : np.shape(bits)[-1]] = bits
  return np.concatenate(rows)


def _check_graph(config, spec, graph):
  last = graph.names[-1]
  if graph.keys[-2:] != ((f"{last}/kernel",), (f"{last}/bias",)):
    raise SpecError(f"the last node must be a dense layer, not {last!r}")
  classes = int(graph.shape[-2, 0])
  if classes > config.num_classes:
    raise SpecError(
      f"node {last!r} has {classes} classes, the hypernetwork knows"
      f" {config.num_classes}"
    )
  large = graph.shape[:, 2:].max(1) > config.max_kernel
  if large.any():
    raise SpecError(
      f"node {graph.names[int(large.argmax())]!r} has a kernel larger than the"
      f" decoder's {config.max_kernel}x{config.max_kernel}"
    )


def _layer_norm(x, scale, offset, epsilon=1e-5):
  mean, variance = tf.nn.moments(x, [-1], keepdims=True)
  return (x - mean) * tf.math.rsqrt(variance + epsilon) * scale + offset
