import numpy as np
import pytest
import tf_keras

from qinit import keras
from qinit.archs import zoo
from qinit.errors import QinitError
from qinit.graph import ops
from qinit.graph.spec import INPUT, NetSpec, Node
from tests.quant_nets import random_params

EVERY_ARCH = pytest.mark.parametrize("arch", zoo.ARCHS)


@pytest.fixture
def net():
  spec = NetSpec(
    (4, 4, 2),
    (
      Node("a.conv-1", ops.Conv(3, use_bias=True), (INPUT,)),
      Node("bn", ops.BatchNorm(), ("a.conv-1",)),
      Node("drop", ops.Dropout(), ("bn",)),
      Node("sum", ops.Add(), ("a.conv-1", "drop")),
    ),
  )
  return keras.build(spec), random_params(spec, 3)


@EVERY_ARCH
def test_a_model_has_exactly_the_specs_parameters(arch):
  spec = zoo.build(arch, 0.125)
  model = keras.build(spec)
  found = {k: tuple(v.shape) for k, v in keras.variables(model).items()}
  assert found == {k: p.shape for k, p in spec.param_specs().items()}
  trained = {w.name.split(":")[0] for w in model.trainable_weights}
  assert trained == set(spec.trainable_specs())
  assert sum(w.shape.num_elements() for w in model.trainable_weights) == (
    spec.num_params()
  )


@EVERY_ARCH
def test_layers_are_the_nodes(arch):
  spec = zoo.build(arch, 0.125)
  model = keras.build(spec, name="some_name")
  assert model.name == "some_name"
  names = [INPUT, *(n.name for n in spec.nodes)]
  assert sorted(layer.name for layer in model.layers) == sorted(names)
  for name, shape in spec.shapes().items():
    output = model.get_layer(name).output
    assert output.shape.as_list() == [None, *shape]


def test_it_is_a_model_of_keras_2():
  model = keras.build(zoo.build("dws_conv_bn", 0.125))
  assert isinstance(model, tf_keras.Model)


def test_parameters_go_in_and_out(net):
  model, params = net
  keras.assign(model, params)
  found = keras.params(model)
  assert set(found) == set(params)
  for key, value in params.items():
    np.testing.assert_array_equal(found[key], value)


def test_parameters_that_are_not_named_are_kept(net):
  model, params = net
  before = keras.params(model)
  keras.assign(model, {"bn/gamma": params["bn/gamma"]})
  after = keras.params(model)
  np.testing.assert_array_equal(after.pop("bn/gamma"), params["bn/gamma"])
  for key, value in after.items():
    np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize(
  "key, value, message",
  [
    ("b/kernel", np.zeros(3), "no parameter 'b/kernel'"),
    ("bn/beta", np.zeros(4), r"'bn/beta' has shape \(4,\).*needs \(3,\)"),
    ("bn/beta", np.zeros((3, 1)), r"has shape \(3, 1\)"),
  ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
  net, key, value, message
):
  model, params = net
  before = keras.params(model)
  with pytest.raises(QinitError, match=message):
    keras.assign(model, params | {key: value})
  after = keras.params(model)
  for name, array in before.items():
    np.testing.assert_array_equal(after[name], array)


def test_two_models_of_a_spec_are_apart():
  spec = zoo.build("dws_conv_bn", 0.125)
  first, second = keras.build(spec), keras.build(spec)
  keras.assign(first, {"logits/bias": np.ones(10)})
  assert keras.params(second)["logits/bias"].tolist() == [0] * 10
