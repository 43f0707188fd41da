"""Generation of a split by Apache Beam, for sizes beyond one machine; the
networks are those that `generator.Generator` keeps."""

import math
from collections.abc import Iterator

from qinit.archs import collection
from qinit.archs.collection import CHUNK, Network, Split

_SAMPLE = 64  # chunks from which the share of kept candidates is estimated
_SURPLUS = 1.25  # duplicates become more frequent


def examples(split: Split, seed: int, held_out: set[str]):
  """A PTransform from a pipeline to (key, example) of the split's networks.

  The first of a canonical form survives; a network's rank is the number of
  survivors in the chunks before its own plus its rank there.

  Args:
    held_out: digests of networks that must not occur.
  """
  import apache_beam as beam

  starts = range(0, _candidates(split, seed, held_out), CHUNK)

  def transform(pipeline):
    survivors = (
      pipeline
      | "Starts" >> beam.Create(starts)
      | "Spread" >> beam.Reshuffle()
      # Plain tuples: Beam would make rows of another type of NamedTuples.
      | "Sample" >> beam.FlatMap(_chunk, split, seed, held_out)
      | "ByDigest" >> beam.Map(lambda network: (network[-1], network))
      | "First" >> beam.CombinePerKey(min)
      | "ByChunk" >> beam.Map(lambda item: (item[1][0] // CHUNK, item[1]))
    )
    ranks = (
      survivors
      | "Keys" >> beam.Keys()
      | "Count" >> beam.combiners.Count.PerElement()
      | "Counts" >> beam.combiners.ToDict()
      | "Ranks" >> beam.Map(_ranks, split)
    )
    return (
      survivors
      | "Chunks" >> beam.GroupByKey()
      | "Keep" >> beam.FlatMap(_keep, beam.pvalue.AsSingleton(ranks), split)
    )

  return beam.ptransform_fn(transform)()


def _candidates(split, seed, held_out):
  """How many candidates hold enough networks."""
  kept = {
    network[-1]
    for start in range(0, _SAMPLE * CHUNK, CHUNK)
    for network in _chunk(start, split, seed, held_out)
  }
  share = max(len(kept), 1) / (_SAMPLE * CHUNK)
  return _SAMPLE * CHUNK + math.ceil(_SURPLUS * split.size / share)


def _chunk(start, split, seed, held_out):
  networks = map(tuple, collection.chunk(split, seed, start))
  return [network for network in networks if network[-1] not in held_out]


def _ranks(counts, split):
  """Survivors before each chunk."""
  ranks, total = {}, 0
  for chunk in sorted(counts):
    ranks[chunk] = total
    total += counts[chunk]
  if total < split.size:
    raise RuntimeError(
      f"{split.name}: {total} different networks where {split.size} are needed"
    )
  return ranks


def _keep(chunk, ranks, split) -> Iterator[tuple[int, dict]]:
  number, networks = chunk
  for network in sorted(networks)[: max(0, split.size - ranks[number])]:
    yield collection.example(Network(*network))
