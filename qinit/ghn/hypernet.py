"""Graph hypernetworks: NetSpec -> parameters.

GHN-2, GHN-1 and the MLP baseline of Knyazev et al., "Parameter Prediction for
Unseen Deep Architectures" (2021), are configurations of one class.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from qinit.errors import CheckpointError, SpecError
from qinit.ghn import decoder, embed, gated_gnn
from qinit.ghn.plan import Plan
from qinit.graph.ops import Shape
from qinit.graph.spec import NetSpec
from qinit.graph.view import PRIMITIVES, GhnGraph, view


@dataclasses.dataclass(frozen=True)
class GhnConfig:
  """What a checkpoint says about its hypernetwork.

  Attributes:
    hypernet: "gatedgnn" or "mlp" (no edges).
    virtual_edge: cut-off of the shortest paths; 1 for direct edges only.
    layernorm: LayerNorm (epsilon 1e-5) on the node states.
    weight_norm: normalisation of what is predicted.
    num_classes: of the networks that it parameterises, at most.
    hid: width of the node states.
    max_channels: channels that are decoded; more are repetitions.
    max_kernel: the largest kernel.
    widths: whether the bits of weights and activations are node features, so
      that one hypernetwork serves all of them.
    learned_steps: whether a factor on the quantisation step of kernels is
      learned, for each primitive and width.
  """

  hypernet: str = "gatedgnn"
  virtual_edge: int = 50
  layernorm: bool = True
  weight_norm: bool = True
  num_classes: int = 10
  hid: int = 32
  max_channels: int = 64
  max_kernel: int = 11
  widths: bool = False
  learned_steps: bool = False

  def __post_init__(self):
    if self.hypernet not in ("gatedgnn", "mlp"):
      raise CheckpointError(f"unknown hypernetwork {self.hypernet!r}")
    for name, most in _LIMITS.items():
      value = getattr(self, name)
      if type(value) is not int or not 1 <= value <= most:
        raise CheckpointError(f"{name} must be in 1..{most}, not {value!r}")
    if self.hid % 4:
      raise CheckpointError(f"hid must be a multiple of 4, not {self.hid}")


_LIMITS = {
  "virtual_edge": 255,
  "num_classes": 65536,
  "hid": 1024,
  "max_channels": 2048,
  "max_kernel": 16,
}

GHN_2 = GhnConfig()
GHN_1 = GhnConfig(virtual_edge=1, layernorm=False, weight_norm=False)
MLP = GhnConfig(hypernet="mlp")


def weight_shapes(config: GhnConfig) -> dict[str, Shape]:
  """Shape of each weight, by its name in the published checkpoints and in
  their order. Matrices are [in, out]; the decoder's are [k, k, hid, 4 hid]
  and [8 hid, I, O], so that a crop is a slice."""
  hid, channels = config.hid, config.max_channels
  k, classes = config.max_kernel, config.num_classes
  rows = (
    len(embed.spatial_values(k)) + 1,
    len(embed.channel_values(classes)) + 1,
  )
  norm: dict[str, Shape] = {"ln.weight": (hid,), "ln.bias": (hid,)}
  return {
    **(norm if config.layernorm else {}),
    "embed.weight": (len(PRIMITIVES), hid),
    "shape_enc.embed_spatial.weight": (rows[0], hid // 4),
    "shape_enc.embed_channel.weight": (rows[1], hid // 4),
    **_width_shapes(config),
    **_step_shapes(config),
    **_gnn_shapes(config),
    "decoder.fc.0.weight": (k, k, hid, 4 * hid),
    "decoder.fc.0.bias": (k, k, 4 * hid),
    **_linear("decoder.conv.0", 4 * hid, 8 * hid),
    "decoder.conv.2.weight": (8 * hid, channels, channels),
    "decoder.conv.2.bias": (channels, channels),
    **_linear("decoder.class_layer_predictor.1", channels, classes),
    **_linear("decoder_1d.fc.0", hid, 2 * hid),
    **_linear("decoder_1d.fc.2", 2 * hid, 2 * channels),
    **_linear("bias_class.1", channels, classes),
  }


def initial_weights(config: GhnConfig, seed: int = 0) -> dict[str, np.ndarray]:
  """Weights before training, drawn as the reference draws them: embeddings
  N(0, 1), the rest U(+-1 / sqrt(fan_in)), for the GRU U(+-1 / sqrt(hid))."""
  rng, weights = np.random.default_rng(seed), {}
  fan_in = config.hid
  for name, shape in weight_shapes(config).items():
    if name.startswith("ln."):
      value = np.full(shape, float(name == "ln.weight"))
    elif name.startswith(("width.", "step.")):  # they make no difference yet
      value = np.zeros(shape)
    elif "embed" in name:
      value = rng.standard_normal(shape)
    else:
      if name.endswith("weight") and "gru" not in name:
        fan_in = _fan_in(name, shape)
      bound = 1 / math.sqrt(config.hid if "gru" in name else fan_in)
      value = rng.uniform(-bound, bound, shape)
    weights[name] = value.astype(np.float32)
  return weights


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
        tf.TensorSpec([None, 2], tf.int32),
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
      widths: of each graph the bits of weights and activations, one pair or
        [nodes, 2], 0 for float; without them all is float. What is not a
        node feature (`GhnConfig.widths`) is ignored.
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
      for i, (bits, _) in enumerate(_node_widths([graph], [widths]))
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
  widths = widths or [(0, 0)] * len(graphs)
  rows = [
    np.broadcast_to(np.array(bits, np.int32), [len(graph), 2])
    for graph, bits in zip(graphs, widths, strict=True)
  ]
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


def check_shapes(weights: dict, shapes: dict[str, Shape]) -> None:
  """Raises CheckpointError unless `weights` has exactly these shapes."""
  for name in weights:
    if name not in shapes:
      raise CheckpointError(f"the hypernetwork has no weight {name!r}")
  for name, shape in shapes.items():
    if name not in weights:
      raise CheckpointError(f"the weight {name!r} is missing")
    found = tuple(weights[name].shape)
    if found != shape:
      raise CheckpointError(
        f"the weight {name!r} has shape {found} instead of {shape}"
      )


def _layer_norm(x, scale, offset, epsilon=1e-5):
  mean, variance = tf.nn.moments(x, [-1], keepdims=True)
  return (x - mean) * tf.math.rsqrt(variance + epsilon) * scale + offset


def _linear(name, inputs, outputs):
  return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)}


def _width_shapes(config):
  """A row for each width, the first for float."""
  rows = (embed.MOST_BITS + 1, config.hid)
  names = ("width.weights", "width.activations") if config.widths else ()
  return dict.fromkeys(names, rows)


def _step_shapes(config):
  """A row for each primitive, a column for each width."""
  if not config.learned_steps:
    return {}
  return {"step.kernels": (len(PRIMITIVES), embed.MOST_BITS + 1)}


def _gnn_shapes(config):
  hid = config.hid
  if config.hypernet == "mlp":
    return _linear("gnn.fc.0", hid, hid) | _linear("gnn.fc.2", hid, hid)
  names = ["gnn.mlp.fc"] + ["gnn.mlp_ve.fc"] * (config.virtual_edge > 1)
  inner = hid // len(names)
  shapes = {}
  for name in names:
    shapes |= _linear(f"{name}.0", hid, inner)
    shapes |= _linear(f"{name}.2", inner, hid)
  gates = 3 * hid
  return shapes | {
    "gnn.gru.weight_ih": (hid, gates),
    "gnn.gru.weight_hh": (hid, gates),
    "gnn.gru.bias_ih": (gates,),
    "gnn.gru.bias_hh": (gates,),
  }


def _fan_in(name, shape):
  return shape[2] if name == "decoder.fc.0.weight" else shape[0]
