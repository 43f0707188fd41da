"""The data sets by name."""

import functools

from qinit.data import cifar10, digits
from qinit.data.dataset import Dataset
from qinit.errors import one_of


def load(name: str, data_dir: str | None = None) -> Dataset:
  """`cifar10` or `digits`; see their modules.

  Raises:
    QinitError: for an unknown name.
    DataError: if the data are missing or damaged.
  """
  one_of("data set", name, ("cifar10", "digits"))
  if name == "digits":
    return digits.dataset()
  return cifar10.dataset(data_dir)


@functools.lru_cache(1)
def shared(name: str, data_dir: str | None = None) -> Dataset:
  """`load`, once for all cells of a grid that a process runs."""
  return load(name, data_dir)
