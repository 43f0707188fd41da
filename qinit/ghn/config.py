"""What a hypernetwork is: GHN-2, GHN-1 and the MLP baseline of Knyazev et al.,
"Parameter Prediction for Unseen Deep Architectures" (2021), are rows."""

import dataclasses

from qinit.errors import CheckpointError


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
    schemes: whether the scheme is one too: affine (noise stands for it) or
      logarithmic codes.
    learned_steps: whether a factor on the quantisation step of kernels is
      learned, for each primitive and width.

  Raises:
    CheckpointError: for a value that cannot be.
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
  schemes: bool = False
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
