"""Integer arithmetic, the file, and the interpreter against the simulation."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinit.errors import CheckpointError
from qinit.lpgnas import cost, integer, integer_file
from qinit.lpgnas.convert import convert
from qinit.lpgnas.formats import parse
from qinit.lpgnas.interpreter import Interpreter
from qinit.lpgnas.network import Inputs, forward, plans
from qinit.lpgnas.space import (
  AGGREGATIONS,
  ATTENTIONS,
  BIAS,
  Architecture,
  Block,
  Space,
  param_shapes,
  uniform,
)
from qinit.lpgnas.supernet import initial_params
from qinit.lpgnas.taps import Quantise
from tests.lpgnas.conftest import make_graph


@given(a=st.integers(-(2**50), 2**50), b=st.integers(1, 2**20))
def test_division_rounds_ties_to_even(a, b):
  from fractions import Fraction

  assert integer.divide(np.int64(a), np.int64(b)) == round(Fraction(a, b))


def test_rescale_by_hand():
  # 11/8 in quarters is 5.5 -> 6, -11/8 -> -6, 10/8 -> 5; 3 in eighths is 24.
  codes = integer.rescale(np.array([11, -11, 10]), 3, 2)
  assert codes.tolist() == [6, -6, 5]
  assert integer.rescale(np.array([3]), 0, 3).tolist() == [24]
  assert integer.rescale(np.array([7]), 0, 1, divisor=4).tolist() == [4]


CODES = st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=4)
FRACTIONS = st.integers(-20, 130)


@given(CODES, FRACTIONS, FRACTIONS, st.integers(1, 5000))
def test_rescaling_is_exact_or_ends_at_the_ends(codes, f, to, divisor):
  from fractions import Fraction

  found = integer.rescale(np.array(codes), f, to, divisor)
  factor = Fraction(2) ** (to - f) / divisor
  for code, value in zip(codes, found.tolist(), strict=True):
    exact = round(code * factor)
    assert value == min(max(exact, -(2**63)), 2**63 - 1)


@given(st.lists(st.tuples(CODES, FRACTIONS), min_size=1, max_size=3))
def test_sums_keep_all_bits_that_there_is_room_for(terms):
  from fractions import Fraction

  terms = [(np.array([codes[0]]), f) for codes, f in terms]
  total, most = integer.add(terms)
  exact = sum(Fraction(int(c[0])) / Fraction(2) ** f for c, f in terms)
  error = abs(Fraction(int(total[0])) / Fraction(2) ** most - exact)
  lost = [f for _, f in terms if f > most]
  assert error <= len(lost) * Fraction(2) ** (-most - 1)
  largest = max(
    abs(exact), *(abs(int(c[0]) / Fraction(2) ** f) for c, f in terms)
  )
  assert error <= largest / 2**50  # below what a float64 resolves


def test_softmax_is_that_of_floats(rng):
  scores = rng.integers(-1000, 1000, [50, 2])
  offsets = np.array([0, 1, 10, 30])
  found = integer.softmax(scores, offsets, 12)
  for begin, end in zip(offsets, [1, 10, 30, 50], strict=True):
    powers = np.exp(scores[begin:end] / 256)
    exact = powers / powers.sum(0)
    assert np.abs(found[begin:end] / 2**12 - exact).max() <= 2**-12


def test_reciprocal_roots():
  roots = integer.reciprocal_roots(np.array([1, 4, 9, 1000]))
  exact = 2.0**30 / np.sqrt([1, 4, 9, 1000])
  np.testing.assert_allclose(roots, exact, atol=1)


def test_table_of_relu6_by_hand():
  codes = integer.table("relu6", parse("fix4.4"), 4, parse("fix4.4"), 4)
  assert codes[:128].tolist() == [0] * 128  # -8 up to 0
  assert codes[128:].tolist() == [min(i, 96) for i in range(128)]


@pytest.mark.parametrize(
  "name", ["binary", "ternary", "scaled3", "fix2.2", "scaled6", "fix4.12"]
)
def test_packing_takes_as_many_bits_as_it_says(name, rng):
  fmt, shape = parse(name), (7, 3)
  low, high = fmt.range
  codes = rng.integers(low, high + 1, shape)
  if name == "binary":
    codes = np.where(codes > 0, 1, -1)
  packed = integer_file.pack(codes, fmt)
  assert packed.nbytes == -(-21 * fmt.bits // 8)
  np.testing.assert_array_equal(integer_file.unpack(packed, fmt, shape), codes)


def test_biases_are_whole_words():
  codes = np.array([-(2**31), 2**31 - 1])
  packed = integer_file.pack(codes, BIAS)
  assert packed.nbytes == 8
  assert integer_file.unpack(packed, BIAS, (2,)).tolist() == codes.tolist()


def network(attention, aggregation, seed):
  """Two blocks with a skip, every format drawn at random, and parameters."""
  rng = np.random.default_rng(seed)
  kinds = ("elu", "tanh", "sigmoid", "softplus", "relu6", "leaky_relu", "none")
  arch = Architecture(
    tuple(
      Block(attention, aggregation, kinds[(seed + i) % 7], 2, 8)
      for i in range(2)
    ),
    skips=(1,),
  )
  precision = {
    name: options[rng.integers(len(options))]
    for name, options in Space().precisions().items()
  }
  shapes = param_shapes(arch, 40, 5)
  params = initial_params(shapes, seed)
  for name in params:
    if name.endswith("bias"):
      params[name] = rng.normal(0, 0.1, shapes[name]).astype(np.float32)
  return arch, precision, params


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_integers_predict_what_the_simulation_predicts(
  attention, aggregation, tmp_path
):
  graph = make_graph(600, 40, 5)
  seed = 3 * ATTENTIONS.index(attention) + AGGREGATIONS.index(aggregation)
  arch, precision, params = network(attention, aggregation, seed)

  def simulation():
    tap = Quantise(precision)
    return forward(params, Inputs.of(graph), *plans(arch), tap).numpy()

  # Untrained networks say the same of all nodes, unless this is taken away.
  params["output/bias"] -= simulation().mean(0)
  simulated = simulation()
  path = tmp_path / "model.npz"
  model = convert(graph, arch, precision, params)
  integer_file.write(path, model)
  interpreter = Interpreter(integer_file.read(path), graph)
  logits, _ = interpreter.logits()
  assert logits.dtype == np.int64
  assert len(np.unique(logits.argmax(1))) > 1
  assert (logits.argmax(1) == simulated.argmax(1)).mean() >= 0.999

  size, sizes = cost.GraphSize.of(graph), cost.sizes(arch, precision)
  stored = sum(count * bits for count, bits in interpreter.stored.values())
  assert stored == pytest.approx(cost.buffer_bits(sizes, size) * 600)
  with np.load(path) as file:
    nbytes = sum(file[n].nbytes for n in file.files if n != "meta")
  assert nbytes == integer_file.code_bytes(model)
  # Each parameter is filled up to a whole byte.
  assert 0 <= 8 * nbytes - cost.model_bits(sizes, size) < 8 * len(params)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("attention", ["const", "gcn"])
@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
def test_without_exponentials_the_simulation_is_exact(
  attention, aggregation, activation
):
  graph = make_graph(600, 40, 5)
  blocks = [Block(attention, aggregation, activation, 2, 8)] * 2
  arch = Architecture(tuple(blocks), skips=(1,))
  precision = uniform(2, "scaled4", "scaled8", "fix1.7")
  params = network(attention, aggregation, 0)[2]
  tap = Quantise(precision)
  simulated = forward(params, Inputs.of(graph), *plans(arch), tap)
  model = convert(graph, arch, precision, params)
  logits, fraction = Interpreter(model, graph).logits()
  np.testing.assert_array_equal(
    np.ldexp(logits.astype(np.float32), -fraction), simulated
  )


def test_what_is_read_is_what_was_written(random_graph, tmp_path):
  arch, precision, params = network("gat", "sum", 0)
  graph = make_graph(30, 40, 5)
  model = convert(graph, arch, precision, params)
  integer_file.write(tmp_path / "m.npz", model)
  found = integer_file.read(tmp_path / "m.npz")
  for field in dataclasses.fields(model):
    if field.name != "codes":
      assert getattr(found, field.name) == getattr(model, field.name)
  for name, codes in model.codes.items():
    np.testing.assert_array_equal(found.codes[name], codes)


@pytest.mark.parametrize("damage", ["cut", "text", "foreign", "missing"])
def test_damaged_files_are_named(damage, tmp_path):
  path = tmp_path / "m.npz"
  graph = make_graph(30, 40, 5)
  integer_file.write(path, convert(graph, *network("gcn", "sum", 0)))
  if damage == "cut":
    path.write_bytes(path.read_bytes()[:200])
  elif damage == "text":
    path.write_text("no npz")
  elif damage == "foreign":
    np.savez(path, a=np.zeros(3))
  else:
    path.unlink()
  with pytest.raises(CheckpointError, match="is no integer model or damaged"):
    integer_file.read(path)
