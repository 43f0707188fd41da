"""Graphs as their publishers write them, as the arrays of `graph_files`.

Neither kind of file has a split: 60, 20 and 20 % of the nodes are drawn,
always the same.
"""

import json
from pathlib import Path

import numpy as np

from qinit.errors import DataError
from qinit.lpgnas.graphs import random_split


def benchmark(arrays: dict) -> dict:
  """From the npz files of gnn-benchmark and graph2gauss, whose features are
  `attr_*`."""
  renamed = {key.replace("attr_", "x_"): v for key, v in arrays.items()}
  return renamed | _split(len(arrays.get("labels", ())))


def saint(folder: Path) -> dict:
  """From a folder as GraphSAINT's: adj_full.npz, feats.npy, class_map.json.

  Raises:
    DataError: for files that are missing or damaged, or nodes of several
      classes.
  """
  try:
    with np.load(folder / "adj_full.npz", allow_pickle=False) as file:
      keys = ("data", "indices", "indptr", "shape")
      edges = {f"adj_{key}": file[key] for key in keys}
    features = np.load(folder / "feats.npy", allow_pickle=False)
    classes = json.loads((folder / "class_map.json").read_text())
    labels = [classes[str(node)] for node in range(len(features))]
  except Exception as error:  # of files, zip, JSON, NumPy
    raise DataError(
      f"{folder} holds no graph as GraphSAINT writes them"
      f" ({type(error).__name__}: {error}): get adj_full.npz, feats.npy and"
      " class_map.json anew"
    ) from None
  if any(isinstance(label, list) for label in labels):
    raise DataError(
      f"{folder}: its nodes have several classes each, which is not supported:"
      " choose another data set"
    )
  found = edges | _sparse(features) | _split(len(labels))
  return found | {"labels": np.array(labels)}


def _sparse(features):
  rows, columns = np.nonzero(features)
  return {
    "x_data": features[rows, columns],
    "x_indices": columns,
    "x_indptr": np.searchsorted(rows, np.arange(len(features) + 1)),
    "x_shape": np.array(features.shape),
  }


def _split(nodes):
  parts = random_split(np.arange(nodes), 0)
  names = (f"r602020_s0_{part}" for part in ("train", "val", "test"))
  return dict(zip(names, parts, strict=True))
