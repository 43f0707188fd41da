"""DARTS-style networks: sizes by hand, refusals, and mutated JSONs."""

import copy
import dataclasses
import json
import random

import numpy as np
import pytest
import tensorflow as tf

from qinit.archs import darts, genotype, load
from qinit.archs.genotype import Genotype, NetConfig
from qinit.errors import SpecError
from qinit.functional.forward import forward
from qinit.graph import ops
from qinit.graph.rewrite import fold_batch_norm
from qinit.graph.spec import NetSpec
from qinit.params.initializers import initial_params


def config(op="conv_3x3", **kwargs):
  edges = ((op, 0), ("skip_connect", 1))
  cells = Genotype(edges, (2,), edges, (2,))
  return NetConfig(**{"genotype": cells, "n_cells": 3, "C": 8} | kwargs)


def test_parameters_by_hand():
  spec = darts.build(config("conv_3x3", n_cells=1))
  stem = 24 * 3 * 9 + 2 * 24
  cell = 2 * (24 * 8 + 2 * 8) + 8 * 8 * 9 + 2 * 8
  assert spec.num_params() == stem + cell + 8 * 10 + 10


@pytest.mark.parametrize("op", genotype.OPS)
@pytest.mark.parametrize("stem_type", [0, 1])
def test_every_op_reduces_twice(op, stem_type):
  spec = darts.build(config(op, stem_type=stem_type, C_mult=2))
  before_head = spec.node("glob_avg").inputs[0]
  size = 4 if stem_type else 8
  assert spec.shapes()[before_head] == (size, size, 32)
  assert spec.shapes()[spec.output] == (10,)


def test_conventions_of_the_reference():
  spec = darts.build(config("sep_conv_5x5", glob_avg=False, fc_layers=2))
  for node in spec.nodes:
    if isinstance(node.op, ops.BatchNorm):
      assert node.op.epsilon == 1e-5
    if isinstance(node.op, ops.Conv | ops.DepthwiseConv | ops.Pool):
      assert node.op.padding == "symmetric"
  assert spec.node("flatten").op.order == "chw"
  assert spec.node("classifier.2").op.rate == 0.5


def test_absent_states_are_zeros():
  edges = (("none", 0), ("none", 1), ("conv_1x1", 0), ("none", 1))
  cells = Genotype(edges, (2, 3), edges, (2, 3))
  spec = darts.build(config(genotype=cells))
  assert spec.node("cells.0.zero.0").op == ops.Zero(8)
  assert spec.shapes()["cells.0.concat"] == (32, 32, 16)
  # The branch of an absent tensor is dead, and its parameters are gone.
  assert "cells.2.preprocess1.op.1/kernel" not in spec.param_specs()


def test_folding_covers_factorised_reductions():
  spec = darts.build(config("dil_conv_3x3", n_cells=4, C_mult=2))
  params = initial_params(spec, "he_uniform", 0)
  rng = np.random.default_rng(0)
  for key, value in params.items():
    if key.endswith(("beta", "moving_mean")):
      params[key] = rng.normal(size=value.shape).astype(np.float32)
  folded, weights = fold_batch_norm(spec, params)
  assert not any(isinstance(n.op, ops.BatchNorm) for n in folded.nodes)
  x = tf.constant(rng.normal(size=(2, 32, 32, 3)), tf.float32)
  whole, short = forward(spec, params, x), forward(folded, weights, x)
  np.testing.assert_allclose(short, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"n_cells": 0}, "n_cells must be an integer in 1..128, not 0"),
    ({"C": 1.5}, "C must be"),
    ({"ks": 4}, "ks must be odd, not 4"),
    ({"norm": "ln"}, "norm must be one of"),
    ({"stem_type": 2}, "stem_type must be"),
    ({"stem_type": 1, "stem_pool": True}, "stem_pool goes with stem_type 0"),
    ({"preproc": 1}, "preproc must be true or false"),
    ({"fc_layers": 3}, "fc_layers must be"),
    ({"C": 7}, "cells.1._ops.1: a factorised reduction needs an even"),
    ({"genotype": None}, "genotype must be an object"),
    ({"colour": "red"}, "has no argument 'colour'"),
  ],
)
def test_refusals(change, message):
  data = config().to_dict() | change
  with pytest.raises(SpecError, match=message):
    darts.build(genotype.from_dict(data))


@pytest.mark.parametrize(
  ("cell", "value", "message"),
  [
    ("normal", [["conv_9x9", 0], ["none", 0]], r"normal\[0\]: unknown op"),
    ("normal", [["none", 0]], "two ops for each state"),
    ("normal", [["none", 0], ["none", 2]], r"normal\[1\]: the input state"),
    ("reduce", [["none", 0], ["none"]], r"reduce\[1\] must be"),
    ("normal_concat", [1], "normal_concat: a state must be"),
    ("reduce_concat", [2, 2], "lists a state twice"),
    ("reduce", [["none", 0], ["none", 1]], "cells.2 has no output"),
  ],
)
def test_refused_genotypes(cell, value, message):
  data = config().to_dict()
  data["genotype"][cell] = value
  with pytest.raises(SpecError, match=message):
    darts.build(genotype.from_dict(data))


def test_without_preprocessing_widths_must_agree():
  wide = config("max_pool_3x3", preproc=False, C_mult=2)
  with pytest.raises(SpecError, match=r"cells.1._ops.0: max_pool_3x3 keeps 8"):
    darts.build(wide)
  darts.build(config("max_pool_3x3", preproc=False))


def test_json_round_trip():
  one = config("conv_7x1_1x7", norm=None, fc_dim=32)
  text = json.dumps(one.to_dict())
  assert genotype.from_json(text) == one
  assert dataclasses.replace(one, norm="bnorm").norm == "bnorm"


def test_load(tmp_path):
  path = tmp_path / "net.json"
  path.write_text(json.dumps(config().to_dict()))
  assert load.load(str(path)) == darts.build(config())
  path.write_text(darts.build(config()).to_json())
  assert load.load(str(path)) == darts.build(config())
  path.write_text("[")
  with pytest.raises(SpecError, match=r"net\.json: not JSON"):
    load.load(str(path))
  with pytest.raises(SpecError, match="there is no file"):
    load.load(str(tmp_path / "other.json"))


VALUES = (
  None, True, False, 0, 1, 2, 3, 5, -1, 64, 10**9, 0.5, float("nan"), "", "bn",
  "none", "conv_3x3", "skip_connect", [], [2], [[]], {}, ["none", 0],
)  # fmt: skip


def mutate(rng, data):
  """Changes, drops or copies something somewhere in `data`."""
  spot, path = data, None
  while isinstance(spot, dict | list) and len(spot) and rng.random() < 0.8:
    keys = list(spot) if isinstance(spot, dict) else range(len(spot))
    path = (spot, rng.choice(list(keys)))
    spot = path[0][path[1]]
  if path is None:
    return rng.choice(VALUES)
  holder, key = path
  action = rng.random()
  if action < 0.2:
    del holder[key]
  elif action < 0.3 and isinstance(holder, list):
    holder.append(copy.deepcopy(holder[key]))
  elif action < 0.4 and isinstance(holder, dict):
    holder[rng.choice(("C", "x", "normal"))] = copy.deepcopy(holder[key])
  else:
    holder[key] = copy.deepcopy(rng.choice(VALUES))
  return data


def check_mutations(count, seed):
  rng = random.Random(seed)
  edges = (("sep_conv_3x3", 0), ("none", 1), ("conv_1x1", 2), ("none", 0))
  cells = Genotype(edges, (2, 3), edges, (2, 3))
  sources = [
    config(genotype=cells).to_dict(),
    config("max_pool_3x3", preproc=False, norm=None).to_dict(),
    darts.build(config(n_cells=1)).to_dict(),
  ]
  valid = 0
  for _ in range(count):
    data = copy.deepcopy(rng.choice(sources))
    for _ in range(rng.randint(1, 3)):
      data = mutate(rng, data)
    try:
      spec = load.from_json(json.dumps(data))
    except SpecError as error:
      assert str(error) and "\n" not in str(error)
    else:
      assert isinstance(spec, NetSpec)
      valid += 1
  assert 0.02 * count < valid < 0.98 * count


def test_mutated_json():
  check_mutations(1_000, seed=0)


@pytest.mark.long
def test_ten_thousand_mutated_jsons():
  check_mutations(10_000, seed=1)
