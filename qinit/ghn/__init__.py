"""Graph hypernetworks that predict the parameters of unseen networks."""

from qinit.functional.statistics import estimate_moving_stats
from qinit.ghn.checkpoint import load, save
from qinit.ghn.hypernet import (
  GHN_1,
  GHN_2,
  MLP,
  GhnConfig,
  HyperNet,
  initial_weights,
)

__all__ = [
  "GHN_1",
  "GHN_2",
  "MLP",
  "GhnConfig",
  "HyperNet",
  "estimate_moving_stats",
  "initial_weights",
  "load",
  "save",
]
