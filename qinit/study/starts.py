"""Where training starts: `INIT`, `ghn:CHECKPOINT` or `checkpoint:PLACE`."""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from qinit import keras
from qinit.data import normalise
from qinit.data.dataset import Dataset, scaled
from qinit.errors import CheckpointError, QinitError, one_of
from qinit.files import short_name
from qinit.functional.lsuv import lsuv
from qinit.functional.statistics import estimate_moving_stats
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec
from qinit.params import store
from qinit.params.initializers import (
  INITIALIZERS,
  initial_params,
  studied_kernels,
)
from qinit.params.symmetry import break_symmetry
from qinit.quant.scheme import Scheme, bits_of

_KINDS = ("ghn", "checkpoint")
_IMAGES, _BATCH = 1024, 128
_LSUV_IMAGES = 256


@dataclasses.dataclass(frozen=True)
class Start:
  """A start as the command line has it.

  Attributes:
    kind: "init", "ghn" or "checkpoint".
    value: the initialiser's name, a path, or the name of a hypernetwork that
      comes with the package.

  Raises:
    QinitError: for what is none of these.
  """

  kind: str
  value: str

  @classmethod
  def parse(cls, text: str) -> "Start":
    kind, colon, value = text.partition(":")
    if not colon:
      return cls("init", one_of("start", text, INITIALIZERS))
    one_of("kind of start", kind, _KINDS)
    if not (Path(value).exists() or (kind == "ghn" and _is_published(value))):
      raise QinitError(f"--start={text}: there is no {value}")
    return cls(kind, value)

  @property
  def label(self) -> str:
    """A word for rows and folders, which tells starts apart."""
    if self.kind == "init":
      return self.value
    return f"{self.kind}_{short_name(self.value)}".replace("__", "_")

  def params(
    self,
    spec: NetSpec,
    data: Dataset,
    seed: int,
    symmetry: str = "none",
    scheme: Scheme | None = None,
  ) -> dict:
    """The parameters that training starts from, moving statistics included.

    Args:
      symmetry: how equal channels of predicted parameters are told apart.
      scheme: the widths at which training begins, None for float; for a
        hypernetwork that sees them.

    Raises:
      QinitError: if a checkpoint is damaged or of another network.
    """
    if self.kind == "init":
      return self._initial(spec, data, seed)
    if self.kind == "checkpoint":
      return _from_checkpoint(self.value, spec)
    return self._predicted(spec, data, seed, symmetry, scheme)

  def _initial(self, spec, data, seed):
    params = initial_params(spec, self.value, seed)
    if not INITIALIZERS[self.value].data_dependent:
      return params
    images = scaled(data.train_images[:_LSUV_IMAGES])
    return lsuv(spec, params, studied_kernels(spec), images)

  def _predicted(self, spec, data, seed, symmetry, scheme):
    from qinit import ghn

    predicted = ghn.load(self.value).predict(spec, bits_of(scheme))
    params = {key: np.array(value) for key, value in predicted.items()}
    params = for_unit_images(spec, params)
    params = break_symmetry(spec, params, symmetry, seed)
    images = scaled(data.train_images[:_IMAGES])
    batches = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    estimated = estimate_moving_stats(spec, params, batches)
    return {key: np.asarray(value) for key, value in estimated.items()}


def for_unit_images(spec: NetSpec, params: dict) -> dict:
  """Parameters for images in [0, 1] from those for normalised ones.

  conv(x / std - mean / std) = conv'(x) + const: the kernels that read the
  input are divided by std. BatchNorm takes the constant up, else the bias
  does. The padding of zeros differs, which the outermost pixels notice.
  """
  params = dict(params)
  mean, std = normalise.MEAN, normalise.STD
  for name in spec.readers()[INPUT]:
    op = spec.node(name).op
    if not isinstance(op, ops.Conv):
      continue
    kernel = params[f"{name}/kernel"] / std[:, None]
    params[f"{name}/kernel"] = kernel
    if op.use_bias:
      shift = np.einsum("hwio,i->o", kernel, mean)
      params[f"{name}/bias"] = params[f"{name}/bias"] - shift
  return params


def _is_published(name):
  from qinit.ghn import published

  return published.find(name) is not None


def _from_checkpoint(place, spec):
  """The parameters of an npz file, or of a cell of an earlier study."""
  path = Path(place)
  if path.is_file():
    return _checked(store.load(path), spec, place)
  latest = tf.train.latest_checkpoint(str(path / "checkpoints"))
  if latest is None:
    raise CheckpointError(
      f"{place} holds no trained network: name a cell's folder, which has"
      " `checkpoints` in it, or an npz file of parameters"
    )
  model = keras.build(spec)
  try:
    status = tf.train.Checkpoint(model=model).restore(latest)
    status.assert_existing_objects_matched().expect_partial()
  except (AssertionError, ValueError) as error:
    raise CheckpointError(
      f"{place} holds another network or width ({str(error).splitlines()[0]})"
    ) from None
  except Exception as error:  # TensorFlow raises many kinds for a damaged one
    raise CheckpointError(
      f"the checkpoint in {path} is damaged ({type(error).__name__}): delete"
      " that folder and train the network anew, or name another"
    ) from None
  return keras.params(model)


def _checked(params, spec, place):
  for key, wanted in spec.param_specs().items():
    if key not in params or params[key].shape != wanted.shape:
      raise CheckpointError(
        f"{place} holds another network or width: no {key} of shape"
        f" {wanted.shape}"
      )
  return {key: params[key] for key in spec.param_specs()}
