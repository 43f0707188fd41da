"""The weight initialisers under study (Section 3.1), a table row each.

Fans are Keras' (`ParamSpec.fan_in`): 9 C for a 3x3 depthwise kernel, where
PyTorch counts 9. He and Glorot normal are truncated at two sigma as in Keras.
Every tensor draws from its own stream, keyed by a hash of its name, so that
adding a layer does not reshuffle the others.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable

import numpy as np

from qinit.errors import one_of
from qinit.graph import ops
from qinit.graph.spec import NetSpec, ParamSpec

# Standard deviation of a unit normal truncated at two sigma.
_TRUNCATED_STD = 0.8796256610342398
_FIXED = "glorot_uniform"

Sampler = Callable[[np.random.Generator, ParamSpec], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Initializer:
  """A row: how to draw a kernel, its name in the tables, and whether the
  paper has it. `data_dependent` rows are rescaled by `functional.lsuv`."""

  suffix: str
  sample: Sampler
  in_paper: bool = True
  data_dependent: bool = False


def tensor_rng(seed: int, key: str) -> np.random.Generator:
  """The random stream of parameter `key` ("node/role") under `seed`."""
  digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
  return np.random.Generator(
    np.random.Philox(key=int.from_bytes(digest[:16], "little"))
  )


def initial_params(spec: NetSpec, init: str, seed: int) -> dict:
  """Float32 arrays for every parameter of `spec`.

  Kernels of convolutions other than the first come from `init`. The first
  convolution and the dense layers are always Glorot uniform, biases and means
  zero, gammas and variances one (Section 3.1).

  Raises:
    QinitError: for an unknown initialiser, with the nearest names.
  """
  studied = INITIALIZERS[one_of("initialiser", init, INITIALIZERS)].sample
  fixed = INITIALIZERS[_FIXED].sample
  kernels = set(studied_kernels(spec))
  return {
    key: _draw(param, studied if key in kernels else fixed, seed)
    for key, param in spec.param_specs().items()
  }


def studied_kernels(spec: NetSpec) -> tuple[str, ...]:
  """Keys of the kernels that the studied initialiser fills."""
  convs = [
    n.name for n in spec.nodes if isinstance(n.op, ops.Conv | ops.DepthwiseConv)
  ]
  return tuple(
    key
    for key, param in spec.param_specs().items()
    if param.is_kernel and param.node in convs[1:]
  )


def _draw(param, sample, seed):
  if param.is_kernel:
    values = sample(tensor_rng(seed, param.key), param)
  else:
    ones = param.role in ("gamma", "moving_variance")
    values = np.full(param.shape, float(ones))
  return values.astype(np.float32)


def _uniform(limit: Callable[[ParamSpec], float]) -> Sampler:
  return lambda rng, p: rng.uniform(-limit(p), limit(p), p.shape)


def _normal(std: float) -> Sampler:
  return lambda rng, p: rng.normal(0.0, std, p.shape)


def _truncated_normal(std: Callable[[ParamSpec], float]) -> Sampler:
  def sample(rng, p):
    return _truncated(rng, p.shape) * (std(p) / _TRUNCATED_STD)

  return sample


def _truncated(rng, shape):
  """Unit normal, values beyond two sigma drawn again."""
  values = rng.normal(size=shape)
  while (far := np.abs(values) > 2.0).any():
    values[far] = rng.normal(size=int(far.sum()))
  return values


def _glorot_limit(c: float) -> Callable[[ParamSpec], float]:
  """sqrt(C / (fan_in + fan_out)); C = 6 is Glorot's (Eq. 8)."""
  return lambda p: math.sqrt(c / (p.fan_in + p.fan_out))


def _orthogonal_matrix(rng, rows, columns):
  """Haar-distributed matrix with orthonormal rows or columns."""
  tall = rng.normal(size=(max(rows, columns), min(rows, columns)))
  q, r = np.linalg.qr(tall)
  q = q * np.sign(np.diag(r))
  return q if rows >= columns else q.T


def _is_depthwise(p):
  return p.role == "depthwise_kernel"


def _orthogonal(rng, p):
  """Orthonormal columns (Saxe et al. 2013); a depthwise kernel maps channel by
  channel, so each of its channels is a unit vector."""
  if _is_depthwise(p):
    values = rng.normal(size=p.shape)
    return values / np.linalg.norm(values, axis=(0, 1), keepdims=True)
  return _orthogonal_matrix(rng, p.fan_in, p.shape[-1]).reshape(p.shape)


def _delta_orthogonal(rng, p):
  """Zero but for an orthogonal matrix at the centre tap (Xiao et al. 2018);
  depthwise kernels have a one there."""
  values = np.zeros(p.shape)
  centre = values[p.shape[0] // 2, p.shape[1] // 2]
  if _is_depthwise(p):
    centre[:] = 1.0
  else:
    centre[:] = _orthogonal_matrix(rng, *centre.shape)
  return values


def _torch_fan_in(p):
  """PyTorch counts one input channel in a depthwise kernel: 9 for 3x3."""
  return p.fan_in // p.shape[2] if _is_depthwise(p) else p.fan_in


def _beyond(suffix, sample, **kwargs):
  return Initializer(suffix, sample, in_paper=False, **kwargs)


INITIALIZERS: dict[str, Initializer] = {
  "rand_uni_small": Initializer("RandUni_Small", _uniform(lambda p: 0.25)),
  "rand_uni_med": Initializer("RandUni_Med", _uniform(lambda p: 0.5)),
  "rand_uni_large": Initializer("RandUni_Large", _uniform(lambda p: 1.0)),
  "rand_norm_small": Initializer("RandNorm_Small", _normal(0.1)),
  "rand_norm_med": Initializer("RandNorm_Med", _normal(0.5)),
  "rand_norm_large": Initializer("RandNorm_Large", _normal(1.0)),
  "glorot_uniform": Initializer("GlorotUni", _uniform(_glorot_limit(6))),
  "glorot_normal": Initializer(
    "GlorotNorm",
    _truncated_normal(lambda p: math.sqrt(2 / (p.fan_in + p.fan_out))),
  ),
  "he_uniform": Initializer(
    "HeUni", _uniform(lambda p: math.sqrt(6 / p.fan_in))
  ),
  "he_normal": Initializer(
    "HeNorm", _truncated_normal(lambda p: math.sqrt(2 / p.fan_in))
  ),
  "mod_glorot_uni_med": Initializer(
    "ModGlorotUni_Med", _uniform(_glorot_limit(36))
  ),
  "mod_glorot_uni_large": Initializer(
    "ModGlorotUni_Large", _uniform(_glorot_limit(1296))
  ),
  "lecun_normal": _beyond(
    "LecunNorm", _truncated_normal(lambda p: math.sqrt(1 / p.fan_in))
  ),
  "orthogonal": _beyond("Orthogonal", _orthogonal),
  "delta_orthogonal": _beyond("DeltaOrthogonal", _delta_orthogonal),
  "lsuv": _beyond("LSUV", _orthogonal, data_dependent=True),
  "he_uniform_torch_fan": _beyond(
    "HeUniTorchFan", _uniform(lambda p: math.sqrt(6 / _torch_fan_in(p)))
  ),
}

PAPER_INITIALIZERS = tuple(n for n, r in INITIALIZERS.items() if r.in_paper)
