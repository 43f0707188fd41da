"""The weights of a hypernetwork: their shapes, and what they start from."""

import math

import numpy as np

from qinit.errors import CheckpointError
from qinit.ghn import embed
from qinit.ghn.config import GhnConfig
from qinit.graph.ops import Shape
from qinit.graph.view import PRIMITIVES


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


def _linear(name, inputs, outputs):
  return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)}


def _width_shapes(config):
  """A row for each width, the first for float, and for each scheme."""
  rows = (embed.MOST_BITS + 1, config.hid)
  names = ("width.weights", "width.activations") if config.widths else ()
  scheme = {"width.scheme": (embed.SCHEMES, config.hid)}
  return dict.fromkeys(names, rows) | (scheme if config.schemes else {})


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
