"""Reading ConvNets-250K: in order, or at random for training.

nets = ConvNets(data_dir)
(spec, graph), *others = nets.graphs([3, 1, 4, 1], virtual_edge=10)
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from qinit.archs import darts, genotype
from qinit.archs.collection import GENERATOR, NAMED, Network
from qinit.errors import DataError
from qinit.graph.spec import NetSpec
from qinit.graph.view import GhnGraph, view

NAME, VERSION, IDENTITY = "conv_nets250k", "1.0.0", "identity"
_BATCH = 1024
_STORED = {
  "spec": "string",
  "num_nodes": "int64",
  "num_params": "int64",
  "macs": "int64",
  "digest": "string",
}
_MAKE = "generate it with python -m experiments.convnets_dataset"


def spec(example: Mapping) -> NetSpec:
  """The network of an example as TFDS gives it.

  Raises:
    SpecError: if its arguments are damaged.
  """
  return darts.build(genotype.from_json(_text(example["spec"])))


class ConvNets:
  """Random access to the networks of a split; needs ArrayRecord files.

  Args:
    data_dir: the TFDS data folder; None is TFDS' own.
    config: "convnets_250k", "bn_free_50k" or a name given at generation.

  Raises:
    DataError: if the split is not there, of another version or written as
      TFRecord. What is damaged is noticed when it is read.
  """

  def __init__(
    self,
    data_dir: str | os.PathLike | None,
    split: str = "train",
    config: str = "convnets_250k",
  ):
    self._stored = Stored(data_dir, config)
    self._source = self._stored.source(split)

  def __len__(self):
    return len(self._source)

  def __iter__(self) -> Iterator[Network]:
    return map(self.__getitem__, range(len(self)))

  def __getitem__(self, index: int) -> Network:
    """Raises DataError if the network is damaged."""
    if not 0 <= index < len(self):
      raise IndexError(index)
    with self._stored.guarded():
      example = self._source[index]
    network = _network(index, example)
    network.check()
    return network

  def graphs(
    self, indices: Sequence[int], virtual_edge: int = 50
  ) -> list[tuple[NetSpec, GhnGraph]]:
    """Networks with their graphs and virtual edges, ready for a training
    step."""
    specs = [darts.build(self[index].config) for index in indices]
    return [(net, view(net, virtual_edge)) for net in specs]


class Stored:
  """A prepared data set.

  Raises:
    DataError: if it is not there, damaged, or of another version or config.
  """

  def __init__(self, data_dir: str | os.PathLike | None, config: str):
    import tensorflow_datasets as tfds

    root = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    self.folder = root / NAME / config / VERSION
    if not self.folder.is_dir():
      raise DataError(_absent(root, config))
    with self.guarded():
      self._builder = tfds.builder_from_directory(self.folder)
      self.identity = self._builder.info.metadata[IDENTITY]
      self.format = self._builder.info.file_format.value
      self.sizes = {
        name: split.num_examples
        for name, split in self._builder.info.splits.items()
      }
      same = _same_spaces(self.identity, config)
    if not same:
      raise DataError(
        f"{self.folder} holds another space or comes from another version of"
        f" qinit: {_MAKE} into another folder"
      )

  def guarded(self):
    """A context in which what TFDS raises becomes a DataError."""
    return _Guard(self.folder)

  def source(self, split: str) -> Sequence[Mapping]:
    """Random access to examples; raises DataError."""
    self._require(split)
    if self.format != "array_record":
      raise DataError(
        f"{self.folder} is in TFRecord files, which have no random access:"
        f" {_MAKE} --file_format=array_record"
      )
    with self.guarded():
      return self._builder.as_data_source(split)

  def read(self, split: str) -> Iterator[Network]:
    """All networks of a split in order, from files of either format.

    Raises:
      DataError: as soon as something damaged is met.
    """
    self._require(split)
    array_record = self.format == "array_record"
    batches = self._parsed(split) if array_record else self._batches(split)
    with self.guarded():
      rows = (row for columns in batches for row in _rows(columns))
      yield from (_network(i, row) for i, row in enumerate(rows))

  def _batches(self, split):
    data = self._builder.as_dataset(split=split).batch(_BATCH)
    return data.as_numpy_iterator()

  def _parsed(self, split):
    """Batches of ArrayRecord files: TFDS parses them one by one, which takes
    ten times as long."""
    import tensorflow as tf

    features = {
      name: tf.io.FixedLenFeature((), tf.as_dtype(kind))
      for name, kind in _STORED.items()
    }
    records = self.source(split).data_source
    for start in range(0, len(records), _BATCH):
      batch = range(start, min(start + _BATCH, len(records)))
      columns = tf.io.parse_example(records.__getitems__(batch), features)
      yield {name: column.numpy() for name, column in columns.items()}

  def _require(self, split):
    if split not in self.sizes:
      there = ", ".join(self.sizes)
      raise DataError(f"{self.folder} has no split {split!r}: it has {there}")


class _Guard:
  """TFDS, TensorFlow and ArrayRecord raise many kinds for damaged files."""

  def __init__(self, folder):
    self._folder = folder

  def __enter__(self):
    return self

  def __exit__(self, kind, error, traceback):
    passes = (DataError, GeneratorExit)
    if isinstance(error, Exception) and not isinstance(error, passes):
      reason = " ".join(f"{kind.__name__}: {error}".split())[:160]
      raise DataError(
        f"{self._folder} is damaged ({reason}): delete the folder and {_MAKE}"
      ) from None


def _absent(root, config):
  there = sorted(
    str(folder.relative_to(root / NAME))
    for folder in (root / NAME).glob("[!.]*/[0-9]*")
    if ".incomplete" not in folder.name
  )
  found = f"; there is {', '.join(there)}" if there else ""
  return f"there is no {config}/{VERSION} in {root / NAME}{found}: {_MAKE}"


def _same_spaces(identity, config):
  """Whether the splits are sampled from the spaces that this version has
  under the name of the config."""
  spaces = {split["stream"]: split["space"] for split in identity["splits"]}
  own = NAMED[config].identity()["splits"] if config in NAMED else ()
  return identity["generator"] == GENERATOR and all(
    spaces.get(split["stream"], split["space"]) == split["space"]
    for split in own
  )


def _rows(columns):
  for row in zip(*columns.values(), strict=True):
    yield dict(zip(columns, row, strict=True))


def _network(index, example):
  return Network(
    index,
    _text(example["spec"]),
    int(example["num_nodes"]),
    int(example["num_params"]),
    int(example["macs"]),
    _text(example["digest"]),
  )


def _text(value):
  return value.decode() if isinstance(value, bytes) else str(value)
