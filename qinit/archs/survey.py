"""What the networks of a split are like."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Iterator

import numpy as np

from qinit.archs.collection import Network, split_digest

QUANTITIES = ("num_nodes", "n_cells", "num_params", "macs")


@dataclasses.dataclass(frozen=True)
class Survey:
  """One split.

  Attributes:
    columns: by name of a quantity, or "width" of the first cells, its value
      for each network.
    ops: how often each operation occurs in the two cells of all networks.
    bn_free: networks without BatchNorm.
    digest: of the split.
  """

  columns: dict[str, np.ndarray]
  ops: dict[str, int]
  bn_free: int
  digest: str

  def __len__(self):
    return len(self.columns["num_nodes"])

  def op_shares(self) -> dict[str, float]:
    """Percent of all operations, the most frequent first."""
    total = sum(self.ops.values())
    order = sorted(self.ops, key=lambda op: (-self.ops[op], op))
    return {op: 100 * self.ops[op] / total for op in order}

  def to_dict(self) -> dict:
    """Plain numbers, to be written as JSON."""
    quantities = {
      name: {
        "min": int(values.min()),
        "mean": round(float(values.mean()), 2),
        "median": float(np.median(values)),
        "max": int(values.max()),
      }
      for name, values in self.columns.items()
    }
    return {
      "networks": len(self),
      "digest": self.digest,
      "bn_free_percent": round(100 * self.bn_free / len(self), 2),
      "ops_percent": {k: round(v, 2) for k, v in self.op_shares().items()},
      **quantities,
    }


def survey(networks: Iterable[Network]) -> Survey:
  """Goes through the networks of a split once."""
  columns = collections.defaultdict(list)
  ops: collections.Counter[str] = collections.Counter()
  digests, bn_free = [], 0
  for network in networks:
    arguments = json.loads(network.spec)
    columns["num_nodes"].append(network.num_nodes)
    columns["n_cells"].append(arguments["n_cells"])
    columns["num_params"].append(network.num_params)
    columns["macs"].append(network.macs)
    columns["width"].append(arguments["C"])
    bn_free += arguments["norm"] is None
    ops.update(
      op for kind in ("normal", "reduce") for op in _ops(arguments, kind)
    )
    digests.append(network.digest)
  arrays = {name: np.array(values) for name, values in columns.items()}
  return Survey(arrays, dict(ops), bn_free, split_digest(digests))


def table(surveys: dict[str, Survey]) -> Iterator[str]:
  """The statistics of all splits as lines of text."""
  heads = (
    "split",
    "networks",
    "nodes",
    "cells",
    "width",
    "10^6 parameters",
    "10^6 MACs",
    "no BN",
    "digest",
  )
  rows = [heads, *(_row(name, s) for name, s in surveys.items())]
  yield "mean (least to most)"
  yield from _aligned(rows)
  yield ""
  yield "operations, percent"
  ops = sorted({op for s in surveys.values() for op in s.ops})
  shares = {name: s.op_shares() for name, s in surveys.items()}
  yield from _aligned(
    [
      ("", *surveys),
      *((op, *(f"{shares[n].get(op, 0):.1f}" for n in surveys)) for op in ops),
    ]
  )


def _row(name, survey):
  def span(column, scale=1, digits=1):
    values = survey.columns[column] / scale
    least, mean, most = values.min(), values.mean(), values.max()
    ends = f"{least:.{digits}f} to {most:.{digits}f}"
    if digits == 1:
      ends = f"{least:.0f} to {most:.0f}"
    return f"{mean:.{digits}f} ({ends})"

  return (
    name,
    f"{len(survey):,}",
    span("num_nodes"),
    span("n_cells"),
    span("width"),
    span("num_params", 1e6, 2),
    span("macs", 1e6),
    f"{100 * survey.bn_free / len(survey):.1f} %",
    survey.digest,
  )


def _aligned(rows):
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  for first, *others in rows:
    cells = [t.rjust(w) for t, w in zip(others, widths[1:], strict=True)]
    yield "  ".join([first.ljust(widths[0]), *cells])


def _ops(arguments, kind):
  return (op for op, _ in arguments["genotype"][kind])
