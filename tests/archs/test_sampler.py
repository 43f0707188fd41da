"""Sampling: the streams, ranges and frequencies of the reference, limits."""

import collections
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from qinit.archs import darts, sampler, space
from qinit.archs.collection import (
  CHUNK,
  Collection,
  Split,
  bn_free_50k,
  convnets_250k,
  split_digest,
)
from qinit.archs.count import count
from qinit.archs.generator import Generator
from qinit.archs.sampler import Stream
from qinit.archs.space import DILATED, PAPER, POOLS, REGULAR, SEPARABLE, Space
from qinit.errors import QinitError
from qinit.graph import ops

RESULTS = Path(__file__).parents[2] / "results" / "convnets"


def kept(space, number, stream="train", seed=3):
  candidates = (
    sampler.candidate(space, seed, stream, i) for i in itertools.count()
  )
  return list(itertools.islice(filter(None, candidates), number))


def test_philox_is_that_of_random123():
  """Known answer of Salmon et al. (2011): philox4x64-10, counter and key 0.
  NumPy counts before it computes."""
  words = np.random.Philox(key=0, counter=2**256 - 1).random_raw(4)
  assert [f"{w:016x}" for w in words.tolist()] == [
    "16554d9eca36314c",
    "db20fe9d672d0fdc",
    "d7e772cee186176b",
    "7e68b68aec7ba23b",
  ]


def test_draws_are_made_of_the_bits_alone(monkeypatch):
  words = [0, 2**64 - 1, 1 << 63, 3 << 62, (1 << 63) - 1]
  raw = type("Raw", (), {"random_raw": lambda self, n: np.array(words, "u8")})
  monkeypatch.setattr(np.random, "Philox", lambda **kwargs: raw())
  draw = Stream(0, "train", 0)
  assert [draw.below(10), draw.below(10), draw.below(10)] == [0, 9, 5]
  assert not draw.coin(0.75)
  assert draw.coin(0.5)


def test_streams_do_not_overlap():
  names = [(seed, name) for seed in (0, 1) for name in PAPER]
  first = {
    tuple(Stream(seed, name, i).below(2**32) for _ in range(2))
    for seed, name in names
    for i in range(100)
  }
  assert len(first) == 100 * len(names)


# Sizes of 40: any change of a range, a probability, an order of draws or the
# canonical form shows here, and needs a new collection.GENERATOR.
DIGESTS = {
  "bn_free": "4a985d2a13038981",
  "test": "d203290006dacace",
  "val": "bc31180a064ad731",
  "deep": "d4faf6b2a4cf43a6",
  "wide": "1415e640513b555e",
  "train": "38b88e33b968f2e6",
  "bn_free_50k": "3f0848094886b258",
}


def generated(collection, processes=1):
  generator = Generator(collection, processes)
  return {
    split.name: list(generator.split(split.name)) for split in collection.splits
  }


@pytest.fixture(scope="module")
def networks():
  return generated(convnets_250k(40)) | {
    "bn_free_50k": generated(bn_free_50k(40))["train"]
  }


def test_digests_are_pinned(networks):
  found = {
    name: split_digest(n.digest for n in split)
    for name, split in networks.items()
  }
  assert found == DIGESTS


@pytest.mark.full
def test_digests_of_the_whole_data_sets_are_the_published_ones():
  published = json.loads((RESULTS / "statistics.json").read_text())
  for collection in (convnets_250k(), bn_free_50k()):
    generator = Generator(collection)
    for split in collection.stored():
      digest = split_digest(n.digest for n in generator.split(split.name))
      name = split.stream
      assert digest == published[name]["digest"], name
      assert split.size == published[name]["networks"]


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_gives_the_same(networks, processes):
  found = generated(convnets_250k(40), processes)
  assert found == {name: networks[name] for name in found}


def test_candidates_and_seeds_differ():
  digests = {
    split_digest(n.digest for n in generated(convnets_250k(5, seed))[name])
    for seed in (0, 1)
    for name in ("train", "val", "test")
  }
  assert len(digests) == 6


def test_a_smaller_set_is_the_beginning_of_a_larger_one():
  small = generated(convnets_250k(10))["test"]
  assert generated(convnets_250k(30))["test"][:10] == small


def test_no_network_occurs_twice_where_there_are_few():
  """72 cells of two ops: most candidates are duplicates."""
  tiny = Space(
    ops=("conv_3x3", "skip_connect"),
    n_cells=(4, 5),
    steps=(1, 1),
    p_pool_reduction=0.0,
    stem_kernels=(3,),
    width_multipliers=(1,),
    widths=(32,),
    p_flatten=0.0,
    fc_dims=(64,),
  )
  splits = (Split("test", "test", tiny, 30), Split("train", "train", tiny, 60))
  found = generated(Collection(splits))
  digests = [n.digest for split in found.values() for n in split]
  assert len(set(digests)) == len(digests) == 90
  alone = generated(Collection(splits[1:]))["train"]
  assert {n.digest for n in alone} & {n.digest for n in found["test"]}


def test_a_space_that_runs_out_says_so(monkeypatch):
  from qinit.archs import generator

  monkeypatch.setattr(generator, "_PATIENCE", 10 * CHUNK)
  impossible = Space(max_params=100)
  with pytest.raises(QinitError, match="train: no new network among 640"):
    generated(Collection((Split("train", "train", impossible, 1),)))


def test_held_out_splits_are_generated_but_not_stored():
  collection = bn_free_50k(20)
  assert [split.name for split in collection.stored()] == ["train"]
  test = generated(convnets_250k(20))["bn_free"]
  assert generated(collection)["bn_free"] == test


@pytest.mark.parametrize("stream", PAPER)
def test_every_network_is_in_its_space(stream):
  space = PAPER[stream]
  for config in kept(space, 150, stream):
    steps = len(config.genotype.normal) // 2
    deep = config.n_cells > space.deep_from[1]
    shallow = config.n_cells <= space.deep_from[0]
    assert space.n_cells[0] <= config.n_cells <= space.n_cells[1]
    assert 1 <= steps <= (2 if deep else 4)
    assert config.glob_avg or not deep
    assert config.norm == "bn" or space.p_no_norm == 1 or shallow
    assert config.preproc and config.num_classes == 10
    assert config.ks in (3, 5, 7) and config.C_mult in (1, 2)
    assert count(config).num_params <= 10**7
    assert config.C % (16 * space.width_factor) == 0
    assert config.genotype.normal_concat[-1] == steps + 1
    for cell in (config.genotype.normal, config.genotype.reduce):
      assert {op for op, _ in cell} <= {*POOLS, *SEPARABLE, *DILATED, *REGULAR}
      assert sum(op in ("conv_5x5", "conv_7x7") for op, _ in cell) <= 1
      for j in range(0, len(cell), 2):
        assert cell[j][1] != cell[j + 1][1]
    assert any(
      "conv" in op for op, _ in config.genotype.normal + config.genotype.reduce
    )


def test_what_sets_the_splits_apart():
  deep, wide, train = (
    kept(PAPER[s], 300, s) for s in ("deep", "wide", "train")
  )
  assert np.mean([c.n_cells for c in deep]) > 2 * np.mean(
    [c.n_cells for c in train]
  )
  assert min(c.C for c in wide) == 128 and max(c.C for c in train) <= 128
  for config in kept(PAPER["bn_free"], 30, "bn_free"):
    spec = darts.build(config)
    assert not any(isinstance(n.op, ops.BatchNorm) for n in spec.nodes)


def test_frequencies_are_those_of_the_reference():
  """Candidates before rejection, five standard errors."""
  free = Space(most_large_convs=99, max_params=10**9, ops=REGULAR + POOLS)
  nets = kept(free, 4000)
  cells = collections.Counter(c.n_cells for c in nets)
  near(cells[11] / len(nets), 1 / 15, len(nets))
  shallow = [c for c in nets if c.n_cells <= 7]
  for steps in (1, 2, 3, 4):
    share = np.mean([len(c.genotype.normal) == 2 * steps for c in shallow])
    near(share, 1 / 4, len(shallow))
  deep = [c for c in nets if c.n_cells > 10]
  near(np.mean([len(c.genotype.normal) == 2 for c in deep]), 1 / 2, len(deep))
  few = [c for c in nets if c.n_cells <= 5 and len(c.genotype.normal) <= 4]
  near(np.mean([c.norm is None for c in few]), 1 / 2, len(few))
  near(np.mean([not c.glob_avg for c in shallow]), 1 / 10, len(shallow))
  near(np.mean([c.stem_pool for c in nets]), 1 / 4, len(nets))
  two = [c for c in nets if len(c.genotype.normal) == 4]
  near(
    np.mean([c.genotype.normal_concat == (3,) for c in two]), 1 / 4, len(two)
  )
  pools = np.mean(
    [all(op in POOLS for op, _ in c.genotype.reduce) for c in two]
  )
  # Half by choice, and by chance 2^-4 of the others; an ordered pair of two
  # out of three states has the third one out of the pair in a third of cases.
  near(pools, 1 / 2 + 1 / 2 / 16, len(two))
  second = [c.genotype.normal[2:] for c in two]
  used = np.mean([{0, 1} == {s for _, s in pair} for pair in second])
  near(used, 1 / 3, len(two))


def near(share, expected, n):
  error = (expected * (1 - expected) / n) ** 0.5
  assert abs(share - expected) < 5 * error, (share, expected)


def test_widths_follow_the_reference_table():
  """The table of the reference's training loader, sizes recounted on the
  built network with 32 channels and 256 hidden ones."""
  import dataclasses

  seen = collections.defaultdict(set)
  for config in kept(PAPER["train"], 400):
    counting = dataclasses.replace(config, C=32, fc_dim=256)
    millions = darts.build(counting).num_params() / 1e6
    edges = config.genotype.normal + config.genotype.reduce
    large = any(op in ("conv_5x5", "conv_7x7") for op, _ in edges)
    if millions > 0.8 or not config.glob_avg or large or config.n_cells > 12:
      row, widths = 0, {32}
    elif millions > 0.4 or config.n_cells > 10:
      row, widths = 1, {32, 48}
    elif millions > 0.2 or config.n_cells > 8:
      row, widths = 2, {32, 48, 64}
    else:
      row, widths = 3, {32, 48, 64, 80, 96, 112, 128}
    assert config.C in widths
    seen[row].add(config.C)
    most = 512 if row == 3 and config.C <= 64 else 256
    assert config.fc_dim % 64 == 0 and 64 <= config.fc_dim <= most
  assert seen[1] == {32, 48} and seen[2] == {32, 48, 64} and len(seen[3]) > 4


def test_a_mobilenet_like_network_has_separable_convolutions_only():
  for config in kept(space.mobilenet_like(Space()), 60):
    spec = darts.build(config)
    for node in spec.nodes:
      if isinstance(node.op, ops.Conv):
        assert node.op.kernel_size == (1, 1) or node.inputs == ("input",)
      if isinstance(node.op, ops.DepthwiseConv):
        assert node.op.dilation == 1


def test_limits_and_restrictions():
  small = space.restricted(
    Space(),
    kernels=(3,),
    widths=(16, 24),
    max_params=500_000,
    max_macs=20_000_000,
  )
  for config in kept(small, 60):
    spec = darts.build(config)
    assert spec.num_params() <= 500_000 and spec.macs() <= 20_000_000
    assert config.C in (16, 24) and config.ks == 3
    for node in spec.nodes:
      if isinstance(node.op, ops.Conv | ops.DepthwiseConv):
        assert max(node.op.kernel_size) <= 3


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda: Space(ops=("conv_9x9",)), "unknown operation 'conv_9x9'"),
    (lambda: Space(ops=("none", "conv_3x3")), "unknown operation 'none'"),
    (lambda: Space(ops=POOLS), "needs a convolution"),
    (lambda: Space(n_cells=(9, 4)), "n_cells must be a range from 1"),
    (lambda: Space(n_cells=(2, 4)), "n_cells must be 3 or more"),
    (lambda: Space(steps=(1, 9)), "at most 8 states"),
    (lambda: Space(widths=(12,)), "multiples of 8"),
    (lambda: Space(max_macs=0), "max_macs must be at least 1"),
    (lambda: space.restricted(Space(), kernels=(9,)), "kernel size '9'"),
    (lambda: convnets_250k(-1), "needs at least one network"),
    (lambda: convnets_250k(1, -1), "a seed is a whole number"),
  ],
)
def test_refusals(change, message):
  with pytest.raises(QinitError, match=message):
    change()
