"""A network by name or from a file."""

import json
from pathlib import Path

from qinit.archs import darts, genotype, zoo
from qinit.errors import SpecError
from qinit.graph import rewrite, spec
from qinit.graph.spec import NetSpec


def load(arch: str) -> NetSpec:
  """The network that `--arch` means, without dead branches.

  Args:
    arch: a name of the zoo, or a JSON file with the constructor arguments of
      a DARTS-style network or with a NetSpec.

  Raises:
    QinitError: if it is none of them, naming the place.
  """
  path = Path(arch)
  if not path.is_file():
    if path.suffix == ".json":
      raise SpecError(f"there is no file {arch}")
    return zoo.build(arch)
  try:
    return from_json(path.read_text())
  except UnicodeDecodeError:
    raise SpecError(f"{arch} is not a text file") from None
  except SpecError as error:
    raise SpecError(f"{arch}: {error}") from None


def from_json(text: str) -> NetSpec:
  """The network of a JSON text of either kind; raises SpecError."""
  try:
    data = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise SpecError(f"not JSON: {error}") from None
  if isinstance(data, dict) and "nodes" in data:
    return rewrite.prune(spec.from_dict(data))
  return darts.build(genotype.from_dict(data))
