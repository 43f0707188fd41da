"""CIFAR-10 as the published hypernetworks were trained on it."""

import numpy as np

MEAN = np.array([0.49139968, 0.48215827, 0.44653124], np.float32)
STD = np.array([0.24703233, 0.24348505, 0.26158768], np.float32)

# What black and white pixels become: the fixed range of a network's input.
RANGE = (float(-(MEAN / STD).max()), float(((1 - MEAN) / STD).max()))


def normalise(images: np.ndarray) -> np.ndarray:
  """(x / 255 - mean) / std, per channel, of uint8 images [..., 3]."""
  return (images.astype(np.float32) / 255 - MEAN) / STD
