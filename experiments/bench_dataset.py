"""The suite `dataset`: generation, size and random access of ConvNets-250K."""

import contextlib
import io
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from qinit.archs import space
from qinit.archs.collection import Collection, convnets_250k
from qinit.archs.convnets import ConvNets
from qinit.archs.convnets_tfds import ConvNets250k

Row = tuple[str, str, str]
_SIZE, _PROCESSES, _BATCH, _ROUNDS = 4000, 2, 4, 50
_VIRTUAL_EDGE = 10  # of the paper
_ALL = sum(space.PAPER_SIZES.values())


def run() -> Iterator[Row]:
  """(name, value, goal) as they are measured, from a smaller data set."""
  networks = convnets_250k(_SIZE)
  tfds.disable_progress_bar()
  with tempfile.TemporaryDirectory() as folder:
    seconds = _generate(networks, folder)
    share = _ALL / sum(split.size for split in networks.splits)
    yield (
      f"generation of {_ALL:,} networks, {_PROCESSES} processes",
      f"{share * seconds / 60:.1f} minutes",
      "at most 10 minutes",
    )
    yield (
      "their size on disk",
      f"{share * _bytes(folder) / 1e6:.0f} MB",
      "at most 170 MB",
    )
    yield (
      f"{_BATCH} networks at random with graphs and virtual edges, median CPU"
      " time of one thread",
      f"{1e3 * _access(folder):.1f} ms",
      "at most 30 ms",
    )


def _generate(networks: Collection, folder: str) -> float:
  begin = time.perf_counter()
  builder = ConvNets250k(
    networks=networks,
    processes=_PROCESSES,
    data_dir=folder,
    file_format="array_record",
  )
  with contextlib.redirect_stdout(io.StringIO()):  # what TFDS says of it
    builder.download_and_prepare()
  return time.perf_counter() - begin


def _bytes(folder: str) -> int:
  return sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())


def _access(folder: str) -> float:
  nets, rng = ConvNets(folder), random.Random(0)
  times = []
  for _ in range(_ROUNDS):
    begin = time.process_time()
    nets.graphs(rng.sample(range(len(nets)), _BATCH), _VIRTUAL_EDGE)
    times.append(time.process_time() - begin)
  return statistics.median(times)
