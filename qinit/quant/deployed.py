"""A network that is ready to be quantised for good."""

import dataclasses

import numpy as np

from qinit.graph.spec import NetSpec
from qinit.quant.scheme import Ranges, Scheme


@dataclasses.dataclass(frozen=True)
class Deployed:
  """What `export`, `IntegerNetwork` and `FakeQuant` take.

  Attributes:
    spec: with its BatchNorms folded, and its `params`.
    ranges: of activations, calibrated or trained; of kernels where learned.
    scheme: the widths.
  """

  spec: NetSpec
  params: dict[str, np.ndarray]
  ranges: Ranges
  scheme: Scheme
