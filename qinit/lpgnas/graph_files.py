"""Reads graphs from npz files, and says what is wrong with one that cannot be
read.

Keys: `x_data, x_indices, x_indptr, x_shape` (features as compressed sparse
rows), `adj_data, adj_indices, adj_indptr, adj_shape` (edges likewise),
`labels`, and for each split the numbers of its nodes, `r602020_s0_train,
_val, _test` or `train_idx, val_idx, test_idx`. Files as they are published are
read too, see `upstream`.
"""

import os
import re
import zipfile
from pathlib import Path

import numpy as np

from qinit.errors import DataError, one_of
from qinit.lpgnas import upstream
from qinit.lpgnas.graphs import SPLITS, Graph, karate, with_self_loops

_SPLIT_KEYS = {
  "random602020": "r602020_s0_{}".format,
  "planetoid": "{}_idx".format,
}
_WANTED = re.compile(
  r"(x|attr|adj)_(data|indices|indptr|shape)|labels"
  r"|r602020_s0_(train|val|test)|(train|val|test)_idx"
)
# Where a user gets the file.
_BENCHMARK = "github.com/shchur/gnn-benchmark (data/npz)"
_PLANETOID = "github.com/kimiyoung/planetoid (data)"
_SAINT = "github.com/GraphSAINT/GraphSAINT (the Google Drive folder it names)"
SOURCES = {
  "cora": _PLANETOID,
  "citeseer": _PLANETOID,
  "pubmed": _BENCHMARK,
  "amazon_photo": _BENCHMARK,
  "amazon_computers": _BENCHMARK,
  "coauthor_cs": _BENCHMARK,
  "coauthor_physics": _BENCHMARK,
  "cora_ml": "github.com/abojchevski/graph2gauss (data)",
  "dblp": "github.com/abojchevski/graph2gauss (data)",
  "cora_full": "github.com/abojchevski/graph2gauss (data)",
  "flickr": _SAINT,
  "yelp": _SAINT,
}
# Word counts; only whether a word occurs is used, as PyTorch Geometric does.
_BINARISED = ("coauthor_cs", "coauthor_physics")
NAMES = ("karate", *SOURCES)


def load(
  name: str, data_dir: str | None = None, split: str = "random602020"
) -> Graph:
  """The graph `name` from `data_dir`, by default the folder that
  QINIT_GRAPHS_DIR names; `karate` needs no file.

  Raises:
    DataError: if the file or the split is missing, or the file is damaged, in
      a sentence that names the remedy.
  """
  one_of("data set", name, NAMES, DataError)
  one_of("split", split, SPLITS, DataError)
  if name == "karate":
    return karate(split)
  folder = data_dir or os.environ.get("QINIT_GRAPHS_DIR")
  if not folder:
    raise DataError(
      f"{name} needs a folder of npz files: give --data_dir or set"
      " QINIT_GRAPHS_DIR (--dataset=karate needs no files)"
    )
  return read(Path(folder) / f"{name}.npz", name, split)


def read(path: Path, name: str, split: str) -> Graph:
  """Reads and checks one file; raises DataError."""
  arrays = _arrays(path, name)
  x, edges = (_csr(arrays, part, path) for part in ("x", "adj"))
  labels, nodes = arrays["labels"], len(arrays["labels"])
  if labels.ndim != 1 or labels.dtype.kind not in "iu" or not nodes:
    raise DataError(f"{path}: labels must be whole numbers, one per node")
  if labels.min() < 0:
    raise DataError(f"{path}: labels must be 0 or more")
  if x["shape"][0] != nodes or tuple(edges["shape"]) != (nodes, nodes):
    raise DataError(
      f"{path}: {nodes} labels, but features {_by(x)} and edges {_by(edges)}"
    )
  rows = np.repeat(np.arange(nodes), np.diff(edges["indptr"]))
  if not (rows != edges["indices"]).any():
    raise DataError(f"{path}: all nodes are isolated, there are no edges")
  both = np.concatenate([edges["indices"], rows])  # some publish them one way
  source, target = with_self_loops(both, np.roll(both, len(rows)), nodes)
  values = x["data"].astype(np.float32)
  return Graph(
    name,
    np.ones_like(values) if name in _BINARISED else values,
    x["indices"].astype(np.int32),
    x["indptr"].astype(np.int32),
    int(x["shape"][1]),
    source,
    target,
    labels.astype(np.int64),
    int(labels.max()) + 1,
    *_split(arrays, split, path, nodes),
  )


def _arrays(path, name):
  if not path.exists():
    folder = path.with_suffix("")
    if folder.is_dir():
      return upstream.saint(folder)
    raise DataError(
      f"there is no {path}: get the data from {SOURCES[name]} and place them"
      " as BUILD.md says"
    )
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {key: file[key] for key in file.files if _WANTED.fullmatch(key)}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as e:
    raise DataError(f"{path} is damaged or no npz ({e}): get it anew") from None
  except Exception as error:  # zlib.error and other kinds, by the byte hit
    raise DataError(f"{path} is damaged ({error}): get it anew") from None
  if "attr_data" in arrays:
    arrays = upstream.benchmark(arrays)
  parts = ("data", "indices", "indptr", "shape")
  wanted = [f"{p}_{key}" for p in ("x", "adj") for key in parts] + ["labels"]
  if missing := [key for key in wanted if key not in arrays]:
    raise DataError(f"{path} is no graph file: {', '.join(missing)} missing")
  return arrays


def _csr(arrays, part, path):
  keys = ("data", "indices", "indptr", "shape")
  csr = {key: arrays[f"{part}_{key}"] for key in keys}
  kinds = {"data": "fiu", "indices": "iu", "indptr": "iu", "shape": "iu"}
  for key, kind in kinds.items():
    if csr[key].ndim != 1 or csr[key].dtype.kind not in kind:
      raise DataError(f"{path}: {part}_{key} has the wrong type or shape")
  if len(csr["shape"]) != 2 or min(csr["shape"]) < 1:
    raise DataError(f"{path}: {part}_shape must be two positive numbers")
  rows, columns = csr["shape"]
  offsets, count = csr["indptr"], len(csr["indices"])
  if (
    len(offsets) != rows + 1
    or offsets[0] != 0
    or offsets[-1] != count
    or (np.diff(offsets) < 0).any()
    or len(csr["data"]) != count
  ):
    raise DataError(f"{path}: {part}_indptr does not fit its rows and values")
  if count and not 0 <= csr["indices"].min() <= csr["indices"].max() < columns:
    what = "an edge index" if part == "adj" else "a feature index"
    raise DataError(f"{path}: {what} is out of range 0..{columns - 1}")
  if not np.isfinite(csr["data"]).all():
    raise DataError(f"{path}: {part}_data holds values that are not finite")
  return csr


def _split(arrays, split, path, nodes):
  keys = [_SPLIT_KEYS[split](part) for part in ("train", "val", "test")]
  if any(key not in arrays for key in keys):
    has = [s for s in SPLITS if _SPLIT_KEYS[s]("train") in arrays]
    raise DataError(
      f"{path} has no split {split}: it has {' and '.join(has) or 'none'}"
    )
  parts = [arrays[key] for key in keys]
  for key, part in zip(keys, parts, strict=True):
    if part.ndim != 1 or part.dtype.kind not in "iu" or not len(part):
      raise DataError(f"{path}: {key} must be a list of node numbers")
    if not 0 <= part.min() <= part.max() < nodes:
      raise DataError(f"{path}: {key} names nodes out of range 0..{nodes - 1}")
  everyone = np.concatenate(parts)
  if len(np.unique(everyone)) < len(everyone):
    raise DataError(f"{path}: the parts of the split {split} overlap")
  return [part.astype(np.int64) for part in parts]


def _by(csr):
  return "x".join(str(n) for n in csr["shape"])
