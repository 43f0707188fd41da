"""Histograms of a network's tensors, and the npz that keeps them."""

import dataclasses
import os

import numpy as np

from qinit.errors import RunError
from qinit.files import whole

BINS = 128


@dataclasses.dataclass(frozen=True)
class Histogram:
  """Counts [B] of values between edges [B + 1] of equal spacing. What lies
  outside was counted in the end bins."""

  edges: np.ndarray
  counts: np.ndarray

  def coarser(self, bins: int = BINS) -> "Histogram":
    """Neighbouring bins added up to `bins`, which must divide their number."""
    step = len(self.counts) // bins
    counts = self.counts.reshape(bins, step).sum(axis=1)
    return Histogram(self.edges[::step], counts)


Distributions = dict[tuple[str, str], Histogram]


def histogram(
  values: np.ndarray, lo: float, hi: float, bins: int = BINS
) -> Histogram:
  """The distribution of `values` over `lo..hi`."""
  edges = np.linspace(lo, hi, bins + 1)
  counts, _ = np.histogram(np.clip(values, lo, hi), edges)
  return Histogram(edges, counts)


def write_distributions(
  path: str | os.PathLike, distributions: Distributions
) -> None:
  """Writes `distributions.npz`: for each (kind, name), in order, the arrays
  "KIND/NAME/edges" and "KIND/NAME/counts"."""
  arrays = {}
  for (kind, name), one in distributions.items():
    arrays[f"{kind}/{name}/edges"] = one.edges
    arrays[f"{kind}/{name}/counts"] = one.counts
  with whole(path) as partial, partial.open("wb") as file:
    np.savez_compressed(file, allow_pickle=False, **arrays)


def read_distributions(path: str | os.PathLike) -> Distributions:
  """The inverse of `write_distributions`.

  Raises:
    RunError: if the file is damaged.
  """
  try:
    with np.load(path) as arrays:
      heads = [k.removesuffix("/edges") for k in arrays if k.endswith("/edges")]
      return {
        tuple(head.split("/", 1)): Histogram(
          arrays[f"{head}/edges"], arrays[f"{head}/counts"]
        )
        for head in heads
      }
  except Exception as error:  # zipfile, zlib and numpy each have their own
    raise RunError(f"{os.fspath(path)} is damaged ({error})") from None
