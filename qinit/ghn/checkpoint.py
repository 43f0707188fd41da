"""Hypernetworks on disk: the published files and our own folders."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from qinit.errors import CheckpointError
from qinit.files import write_text
from qinit.ghn import published, torch_file
from qinit.ghn.config import GhnConfig
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.weights import check_shapes, weight_shapes
from qinit.graph.ops import Shape

_CONFIG, _WEIGHTS = "ghn.json", "ghn"
_TRAINED_VIRTUAL_EDGE = 50  # of the published networks, which do not say it


def load(path: str | os.PathLike) -> HyperNet:
  """A hypernetwork from a `.pt` file of the reference, a folder of `save`, or
  the name of one that comes with the package. What exists goes first.

  Raises:
    CheckpointError: if there is none, or it is damaged, foreign, or of other
      shapes than its configuration says.
  """
  path = Path(path)
  if not path.exists():
    path = _found(path)
  if path.is_dir():
    return _load_folder(path)
  content = torch_file.read(path)
  try:
    return _published(content)
  except CheckpointError as error:
    raise CheckpointError(f"{path}: {error}") from None


def _found(path: Path) -> Path:
  if found := published.find(str(path)):
    return found
  names = ", ".join(published.names())
  hint = f": published are {names}" if names else ""
  raise CheckpointError(f"there is no hypernetwork at {path}{hint}")


def save(folder: str | os.PathLike, ghn: HyperNet) -> None:
  """Writes a tf.train.Checkpoint and the configuration, virtual-edge cut-off
  included."""
  folder = Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  tf.train.Checkpoint(ghn=ghn).write(str(folder / _WEIGHTS))
  config = json.dumps(dataclasses.asdict(ghn.config), indent=2)
  write_text(folder / _CONFIG, config + "\n")


def published_shapes(config: GhnConfig) -> dict[str, Shape]:
  """Shape of each tensor of a published state dict, in its order."""
  hid, channels = config.hid, config.max_channels
  shapes = {
    name: shape if "embed" in name else shape[::-1]
    for name, shape in weight_shapes(config).items()
  }
  positions = 4 * hid * config.max_kernel**2
  return shapes | {
    "decoder.fc.0.weight": (positions, hid),
    "decoder.fc.0.bias": (positions,),
    "decoder.conv.0.weight": (8 * hid, 4 * hid, 1, 1),
    "decoder.conv.2.weight": (channels**2, 8 * hid, 1, 1),
    "decoder.conv.2.bias": (channels**2,),
    "decoder.class_layer_predictor.1.weight": (
      config.num_classes,
      channels,
      1,
      1,
    ),
  }


def from_state_dict(config: GhnConfig, state: dict) -> HyperNet:
  """The hypernetwork with the tensors of a published state dict; raises
  CheckpointError if one is missing, unknown or of another shape."""
  check_shapes(state, published_shapes(config))
  return HyperNet(
    config, {name: _ours(name, state[name], config) for name in state}
  )


def _published(content: dict) -> HyperNet:
  try:
    config = _published_config(content["config"])
    state = {k: np.asarray(v) for k, v in content["state_dict"].items()}
  except (KeyError, TypeError, AttributeError, IndexError) as error:
    raise CheckpointError(
      f"it is no checkpoint of a hypernetwork ({error!r})"
    ) from None
  return from_state_dict(config, state)


def _published_config(config):
  shape = config["max_shape"]
  if shape[0] != shape[1] or shape[2] != shape[3]:
    raise CheckpointError(f"max_shape must be [C, C, k, k], not {shape}")
  if config["decoder"] != "conv":
    raise CheckpointError(f"decoder {config['decoder']!r} is not supported")
  return GhnConfig(
    hypernet=config["hypernet"],
    virtual_edge=_TRAINED_VIRTUAL_EDGE if config["ve"] else 1,
    layernorm=bool(config["layernorm"]),
    weight_norm=bool(config["weight_norm"]),
    num_classes=config["num_classes"],
    hid=config["hid"],
    max_channels=shape[0],
    max_kernel=shape[2],
  )


def _ours(name, value, config):
  """A published tensor in our layout (see `weight_shapes`)."""
  value = value.astype(np.float32, copy=False)
  k, channels = config.max_kernel, config.max_channels
  if name.startswith("decoder.fc.0."):
    value = value.reshape([4 * config.hid, k, k, *value.shape[1:]])
    return np.ascontiguousarray(np.moveaxis(value, 0, -1))
  if name.startswith("decoder.conv.2."):
    value = value.reshape([channels, channels, -1]).transpose(2, 1, 0)
    return value[0] if name.endswith("bias") else value
  value = value[:, :, 0, 0] if value.ndim == 4 else value
  return value.T if value.ndim == 2 and "embed" not in name else value


def _load_folder(folder):
  try:
    config = json.loads((folder / _CONFIG).read_text())
    config = GhnConfig(**config)
    ghn = HyperNet(config)
    checkpoint = tf.train.Checkpoint(ghn=ghn)
    checkpoint.read(str(folder / _WEIGHTS)).assert_consumed()
    return ghn
  except FileNotFoundError:
    raise CheckpointError(f"{folder} has no {_CONFIG}") from None
  except CheckpointError as error:
    raise CheckpointError(f"{folder}: {error}") from None
  except Exception as error:  # TensorFlow raises many kinds here
    reason = str(error).splitlines()[0] if str(error) else repr(error)
    raise CheckpointError(f"{folder} is damaged ({reason})") from None
