"""Closed-form counts against the built network, and by hand."""

import dataclasses
import itertools

import pytest

from qinit.archs import darts, sampler
from qinit.archs.count import Counts, count
from qinit.archs.genotype import Genotype, NetConfig
from qinit.archs.space import PAPER
from qinit.graph.view import view


def kept(stream, number, seed=7):
  candidates = (
    sampler.candidate(PAPER[stream], seed, stream, i) for i in itertools.count()
  )
  return list(itertools.islice(filter(None, candidates), number))


@pytest.mark.parametrize("stream", PAPER)
def test_counts_equal_those_of_the_built_network(stream):
  for config in kept(stream, 60):
    spec = darts.build(config)
    built = Counts(spec.num_params(), spec.macs(), len(view(spec)))
    assert count(config) == built, config


def test_counts_by_hand():
  """Three cells of a 3x3 convolution plus a skip; the second reduces, the
  third too. BatchNorm has two parameters per channel."""
  edges = (("conv_3x3", 0), ("skip_connect", 1))
  config = NetConfig(Genotype(edges, (2,), edges, (2,)), n_cells=3, C=8)
  stem, conv, skip = 27 * 24, 9 * 8 * 8, 8 * 8
  inputs = (2 * 24 * 8, (24 + 8) * 8, 2 * 8 * 8)
  norms = 2 * (24 + 8 * (3 * 3 + 2))
  weights = stem + sum(inputs) + 3 * conv + 2 * skip
  head = 8 * 10 + 10
  big, middle, small = 32 * 32, 16 * 16, 8 * 8
  # The third cell's first input is halved on the way: all at its own size.
  macs = (
    big * (stem + inputs[0] + conv)
    + big * inputs[1]
    + middle * (conv + skip + inputs[2])
    + small * (conv + skip)
    + 80
  )
  # Input, stem, BN; per cell 2 x 2 preprocessing, conv, BN, sum; factorised
  # reductions are 4 nodes: two skips, and one instead of a preprocessing.
  nodes = 3 + 3 * 7 + 2 * 4 + 2 + 3
  assert count(config) == (weights + norms + head, macs, nodes)
  without = dataclasses.replace(config, norm=None)
  assert count(without).num_params == weights + head
