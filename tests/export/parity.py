"""What every comparison with LiteRT has to meet."""

from qinit.export import runtime


def assert_layers_agree(model, network, images, equal=99.9):
  """On the runtime's own input to each layer."""
  layers = runtime.compare_layers(model, network, images)
  assert set(layers) == {g.name for g in network.placement.groups}
  for name, parity in layers.items():
    assert parity.equal >= equal, (name, parity)
    assert parity.max_difference <= 1, (name, parity)
