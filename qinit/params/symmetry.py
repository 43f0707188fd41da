"""Breaks the symmetry of predicted parameters.

A hypernetwork fills wide kernels by repetition. Channels that are equal get
equal gradients and stay equal, so a network that is to be trained from there
needs them told apart (Knyazev et al., arXiv 2207.10049).
"""

from collections.abc import Callable, Mapping

import numpy as np

from qinit.errors import one_of
from qinit.graph.spec import NetSpec
from qinit.params.initializers import tensor_rng

# Share of a kernel's standard deviation: too little to lose what was predicted.
_NOISE = 0.05


def break_symmetry(
  spec: NetSpec, params: Mapping, how: str, seed: int
) -> dict[str, np.ndarray]:
  """`params` with every kernel changed as `how` says: "none", "noise" or
  "orthogonal". Gammas, biases and statistics stay.

  Raises:
    QinitError: for another `how`.
  """
  change = CHANGES[one_of("way to break symmetry", how, CHANGES)]
  params = {key: np.asarray(value) for key, value in params.items()}
  kernels = [k for k, p in spec.param_specs().items() if p.is_kernel]
  changed = {k: change(params[k], tensor_rng(seed, k)) for k in kernels}
  return params | {k: v.astype(np.float32) for k, v in changed.items()}


def _noise(kernel, rng):
  """W + 0.05 std(W) N(0, 1)."""
  return kernel + _NOISE * kernel.std() * rng.normal(size=kernel.shape)


def _orthogonal(kernel, rng):
  """The orthogonal matrix nearest to the noisy kernel [taps inputs, outputs],
  scaled back to the kernel's norm: re-initialisation conditioned on what was
  predicted. A depthwise kernel has a row per channel; these get their norms
  back one by one."""
  noisy = _noise(kernel, rng)
  if kernel.ndim == 4 and kernel.shape[-1] == 1:
    norm = np.linalg.norm(kernel, axis=(0, 1), keepdims=True)
    return noisy / np.linalg.norm(noisy, axis=(0, 1), keepdims=True) * norm
  matrix = noisy.reshape(-1, kernel.shape[-1])
  u, _, vt = np.linalg.svd(matrix, full_matrices=False)
  q = (u @ vt).reshape(kernel.shape)
  return q * np.linalg.norm(kernel) / np.linalg.norm(q)


CHANGES: dict[str, Callable] = {
  "none": lambda kernel, rng: kernel,
  "noise": _noise,
  "orthogonal": _orthogonal,
}
