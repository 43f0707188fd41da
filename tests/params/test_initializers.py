import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qinit.archs import zoo
from qinit.errors import QinitError
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node, ParamSpec
from qinit.params.initializers import (
  INITIALIZERS,
  PAPER_INITIALIZERS,
  initial_params,
  studied_kernels,
  tensor_rng,
)

CONV = ParamSpec("a/kernel", (3, 3, 64, 128))
POINTWISE = ParamSpec("a/kernel", (1, 1, 48, 200))
DEPTHWISE = ParamSpec("a/depthwise_kernel", (3, 3, 512, 1))
SHAPES = pytest.mark.parametrize(
  "param", [CONV, POINTWISE, DEPTHWISE], ids=["conv", "pointwise", "depthwise"]
)

SUFFIXES = {
  "rand_uni_small": "RandUni_Small",
  "rand_uni_med": "RandUni_Med",
  "rand_uni_large": "RandUni_Large",
  "rand_norm_small": "RandNorm_Small",
  "rand_norm_med": "RandNorm_Med",
  "rand_norm_large": "RandNorm_Large",
  "glorot_uniform": "GlorotUni",
  "glorot_normal": "GlorotNorm",
  "he_uniform": "HeUni",
  "he_normal": "HeNorm",
  "mod_glorot_uni_med": "ModGlorotUni_Med",
  "mod_glorot_uni_large": "ModGlorotUni_Large",
  "lecun_normal": "LecunNorm",
  "orthogonal": "Orthogonal",
  "delta_orthogonal": "DeltaOrthogonal",
  "lsuv": "LSUV",
  "he_uniform_torch_fan": "HeUniTorchFan",
}

# name: limit for (fan_in, fan_out), written as in the paper.
UNIFORM = {
  "rand_uni_small": lambda i, o: 0.25,
  "rand_uni_med": lambda i, o: 0.5,
  "rand_uni_large": lambda i, o: 1.0,
  "glorot_uniform": lambda i, o: math.sqrt(6 / (i + o)),
  "he_uniform": lambda i, o: math.sqrt(6 / i),
  "mod_glorot_uni_med": lambda i, o: math.sqrt(36 / (i + o)),
  "mod_glorot_uni_large": lambda i, o: math.sqrt(1296 / (i + o)),
}
NORMAL = {"rand_norm_small": 0.1, "rand_norm_med": 0.5, "rand_norm_large": 1.0}
# Keras has these; its fans and its truncation are the oracle.
KERAS = {
  "glorot_uniform": tf_keras.initializers.GlorotUniform,
  "glorot_normal": tf_keras.initializers.GlorotNormal,
  "he_uniform": tf_keras.initializers.HeUniform,
  "he_normal": tf_keras.initializers.HeNormal,
  "lecun_normal": tf_keras.initializers.LecunNormal,
}
TORCH = {"he_uniform_torch_fan"}
ORTHOGONAL = {"orthogonal", "lsuv"}
DELTA = {"delta_orthogonal"}


def draw(name, param, seed=0):
  rng = np.random.default_rng(seed)
  return np.asarray(INITIALIZERS[name].sample(rng, param))


def fans(param):
  """Keras' own (a private function, but the one that its layers use)."""
  from tf_keras.src.initializers.initializers import _compute_fans

  return _compute_fans(param.shape)


def assert_std(values, std):
  """Mean 0 and standard deviation `std`, to five standard errors."""
  n = values.size
  assert abs(values.mean()) < 5 * std / math.sqrt(n)
  assert values.std() == pytest.approx(std, rel=5 / math.sqrt(2 * n))


def test_every_row_has_a_test():
  tested = {*UNIFORM, *NORMAL, *KERAS, *TORCH, *ORTHOGONAL, *DELTA}
  assert tested == set(INITIALIZERS)


def test_row_names():
  assert {n: r.suffix for n, r in INITIALIZERS.items()} == SUFFIXES


def test_the_paper_has_the_first_twelve():
  assert tuple(SUFFIXES)[:12] == PAPER_INITIALIZERS


@SHAPES
def test_fans_are_keras(param):
  assert (param.fan_in, param.fan_out) == fans(param)


@SHAPES
@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_rows_fill_their_interval_evenly(name, param):
  limit = UNIFORM[name](*fans(param))
  values = draw(name, param).ravel()
  assert np.abs(values).max() <= limit
  assert np.abs(values).max() > limit * (1 - 20 / values.size)
  assert_std(values, limit / math.sqrt(3))
  share = np.histogram(values, 8, (-limit, limit))[0] / values.size
  assert np.abs(share - 1 / 8).max() < 5 * math.sqrt(1 / 8 / values.size)


@SHAPES
@pytest.mark.parametrize("name", NORMAL)
def test_normal_rows_are_not_truncated(name, param):
  std = NORMAL[name]
  values = draw(name, param).ravel()
  assert_std(values, std)
  beyond = (np.abs(values) > 2 * std).mean()
  spread = math.sqrt(0.0455 / values.size)
  assert beyond == pytest.approx(0.0455, abs=5 * spread)


@SHAPES
@pytest.mark.parametrize("name", KERAS)
def test_rows_that_keras_has_are_distributed_as_keras_draws(name, param):
  from scipy import stats

  found = draw(name, param).ravel()
  wanted = KERAS[name](seed=1)(param.shape).numpy().ravel()
  assert stats.ks_2samp(found, wanted).pvalue > 1e-4
  largest = np.abs(wanted).max()
  assert np.abs(found).max() == pytest.approx(largest, rel=0.01)


@pytest.mark.parametrize("name", ["glorot_normal", "he_normal", "lecun_normal"])
def test_truncated_rows_end_at_two_sigma_of_the_wider_normal(name):
  gain = {"glorot_normal": None, "he_normal": 2, "lecun_normal": 1}[name]
  fan_in, fan_out = fans(CONV)
  std = math.sqrt(gain / fan_in if gain else 2 / (fan_in + fan_out))
  values = draw(name, CONV)
  assert_std(values, std)
  # The standard deviation of a normal cut at two sigma is 0.8796 of it.
  assert np.abs(values).max() <= 2 * std / 0.87962
  assert np.abs(values).max() == pytest.approx(2 * std / 0.87962, rel=1e-3)


def test_he_uniform_differs_eightfold_between_the_depthwise_fans():
  param = ParamSpec("a/depthwise_kernel", (3, 3, 64, 1))
  keras = np.abs(draw("he_uniform", param)).max()
  torch = np.abs(draw("he_uniform_torch_fan", param)).max()
  assert keras <= math.sqrt(6 / 576) and torch <= math.sqrt(6 / 9)
  assert torch / keras == pytest.approx(8.0, rel=1e-6)  # the same draws


def test_torch_fan_is_keras_for_other_kernels():
  np.testing.assert_array_equal(
    draw("he_uniform_torch_fan", CONV), draw("he_uniform", CONV)
  )


@pytest.mark.parametrize("name", sorted(ORTHOGONAL))
@pytest.mark.parametrize(
  "shape", [(3, 3, 8, 16), (1, 1, 8, 16), (1, 1, 16, 8), (1, 1, 8, 8)]
)
def test_orthogonal_rows_have_orthonormal_columns_or_rows(name, shape):
  matrix = draw(name, ParamSpec("a/kernel", shape)).reshape(-1, shape[-1])
  if matrix.shape[0] < matrix.shape[1]:
    matrix = matrix.T
  gram = matrix.T @ matrix
  np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_orthogonal_matrices_are_haar_distributed():
  # Without the sign correction of QR the diagonal would not average to 0.
  param = ParamSpec("a/kernel", (1, 1, 4, 4))
  diagonals = np.array(
    [np.diag(draw("orthogonal", param, seed)[0, 0]) for seed in range(800)]
  )
  # A Haar entry of a 4x4 matrix has variance 1/4.
  assert np.abs(diagonals.mean(0)).max() < 5 * 0.5 / math.sqrt(800)
  assert diagonals.var() == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("name", sorted(ORTHOGONAL))
def test_orthogonal_depthwise_kernels_are_unit_vectors(name):
  kernel = draw(name, DEPTHWISE)
  np.testing.assert_allclose((kernel**2).sum((0, 1)), 1.0)


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (5, 5, 6, 6), (1, 7, 8, 4)])
def test_delta_orthogonal_is_zero_but_at_the_centre(shape):
  kernel = draw("delta_orthogonal", ParamSpec("a/kernel", shape))
  centre = kernel[shape[0] // 2, shape[1] // 2].copy()
  assert np.count_nonzero(kernel) == np.count_nonzero(centre) > 0
  tall = centre if shape[2] >= shape[3] else centre.T
  np.testing.assert_allclose(tall.T @ tall, np.eye(tall.shape[1]), atol=1e-12)


def test_delta_orthogonal_depthwise_passes_the_image_through():
  x = tf.random.stateless_normal([1, 5, 5, 512], (1, 2))
  kernel = draw("delta_orthogonal", DEPTHWISE).astype(np.float32)
  y = ops.DepthwiseConv().apply({"depthwise_kernel": kernel}, x)
  np.testing.assert_array_equal(y, x)


def test_only_lsuv_depends_on_data():
  dependent = [n for n, r in INITIALIZERS.items() if r.data_dependent]
  assert dependent == ["lsuv"]


class TestInitialParams:
  spec = zoo.build("dws_conv_bn", 0.25)

  def test_every_parameter_is_there_in_float32(self):
    params = initial_params(self.spec, "he_normal", 0)
    shapes = {k: p.shape for k, p in self.spec.param_specs().items()}
    assert {k: v.shape for k, v in params.items()} == shapes
    assert {v.dtype for v in params.values()} == {np.dtype(np.float32)}

  @pytest.mark.parametrize("arch", zoo.ARCHS)
  def test_what_is_no_kernel_is_zero_or_one(self, arch):
    spec = zoo.build(arch, 0.25)
    for key, value in initial_params(spec, "rand_norm_large", 0).items():
      role = key.rsplit("/", 1)[1]
      if role in ("gamma", "moving_variance"):
        assert (value == 1).all()
      elif role in ("beta", "moving_mean", "bias"):
        assert (value == 0).all()
      else:
        assert role.endswith("kernel") and value.std() > 0

  def test_studied_are_the_convolutions_after_the_first(self):
    assert studied_kernels(self.spec) == tuple(
      f"block{b}_{part}"
      for b in range(1, 7)
      for part in ("dw/depthwise_kernel", "pw/kernel")
    )

  def test_first_convolution_and_dense_layers_stay_glorot_uniform(self):
    glorot = initial_params(self.spec, "glorot_uniform", 5)
    large = initial_params(self.spec, "rand_uni_large", 5)
    for key in ("stem/kernel", "hidden/kernel", "logits/kernel"):
      np.testing.assert_array_equal(large[key], glorot[key])
      limit = math.sqrt(6 / sum(fans(self.spec.param_specs()[key])))
      assert 0.9 * limit < np.abs(large[key]).max() <= limit
    for key in studied_kernels(self.spec):
      assert np.abs(large[key]).max() > np.abs(glorot[key]).max()

  def test_the_seed_decides_everything(self):
    first = initial_params(self.spec, "he_uniform", 1)
    again = initial_params(self.spec, "he_uniform", 1)
    other = initial_params(self.spec, "he_uniform", 2)
    for key, value in first.items():
      np.testing.assert_array_equal(value, again[key])
      if key.endswith("kernel"):
        assert (value != other[key]).all()

  def test_tensors_of_one_shape_are_independent(self):
    spec = zoo.build("basic_residual_bn", 0.5)
    params = initial_params(spec, "rand_norm_large", 0)
    keys = [k for k, v in params.items() if v.shape == (3, 3, 128, 128)]
    rows = np.array([params[k].ravel() for k in keys])
    correlations = np.corrcoef(rows)[np.triu_indices(len(keys), 1)]
    assert len(keys) == 3
    assert np.abs(correlations).max() < 5 / math.sqrt(rows.shape[1])

  def test_seeds_are_independent(self):
    rows = [
      initial_params(self.spec, "rand_norm_large", seed)["block6_pw/kernel"]
      for seed in range(3)
    ]
    correlations = np.corrcoef([r.ravel() for r in rows])
    off = correlations[np.triu_indices(3, 1)]
    assert np.abs(off).max() < 5 / math.sqrt(rows[0].size)

  def test_adding_a_layer_does_not_reshuffle_the_others(self):
    extra = Node("extra", ops.Conv(8), ("stem_relu",))
    nodes = list(self.spec.nodes)
    larger = NetSpec((32, 32, 3), (*nodes[:5], extra, *nodes[5:]))
    before = initial_params(self.spec, "he_normal", 0)
    after = initial_params(larger, "he_normal", 0)
    assert set(after) - set(before) == {"extra/kernel"}
    for key, value in before.items():
      np.testing.assert_array_equal(after[key], value)

  def test_two_nets_share_the_tensors_that_they_share_by_name(self):
    spec = NetSpec((8, 8, 3), (Node("stem", ops.Conv(8), (INPUT,)),))
    np.testing.assert_array_equal(
      initial_params(spec, "orthogonal", 0)["stem/kernel"],
      initial_params(self.spec, "he_normal", 0)["stem/kernel"],
    )

  def test_unknown_names_get_near_ones(self):
    with pytest.raises(QinitError, match="'he_unifrom': did you mean he_unif"):
      initial_params(self.spec, "he_unifrom", 0)


def test_streams_of_seed_and_name_do_not_collide():
  keys = [(1, "1:a"), (11, "a"), (1, "a"), (0, "a"), (0, "b")]
  draws = {tensor_rng(*key).integers(1 << 62) for key in keys}
  assert len(draws) == len(keys)


def test_streams_are_the_same_for_ever():
  # Published rows name a seed only: the first draws of one stream.
  found = tensor_rng(0, "stem/kernel").integers(0, 1 << 32, 3).tolist()
  assert found == [4110373758, 3411269165, 3691208663]
