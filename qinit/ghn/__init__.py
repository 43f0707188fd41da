"""Graph hypernetworks that predict the parameters of unseen networks."""

from qinit.functional.statistics import estimate_moving_stats
from qinit.ghn.checkpoint import load, save
from qinit.ghn.config import GHN_1, GHN_2, MLP, GhnConfig
from qinit.ghn.hypernet import HyperNet
from qinit.ghn.weights import initial_weights

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
