import pytest

from qinit.errors import QinitError
from qinit.quant.mixed import Mixed
from qinit.quant.simulation import Simulation
from qinit.quant.widths import simulations


def test_each_name_is_a_quantisation():
  names = ("float", "w4a8", "w2a2", "w2a2_noise")
  assert simulations(names, "simquant", "percentile") == {
    "float": None,
    "w4a8": Simulation(4, 8, "simquant", "percentile"),
    "w2a2": Simulation(2, 2, "simquant", "percentile"),
    "w2a2_noise": Simulation(2, 2, "noise", "percentile"),
  }
  assert simulations(["w4a4"], "log") == {"w4a4": Simulation(4, 4, "log")}


def test_mixed_draws_from_the_same_widths_whatever_else_is_asked_for():
  drawn = (Simulation(8, 8), Simulation(4, 8), Simulation(4, 4))
  for names in (["float", "mixed"], ["mixed", "w4a4", "w2a2", "w3a3_noise"]):
    assert simulations(names)["mixed"] == Mixed(drawn, 0)
  assert simulations(["mixed_layers"]) == {
    "mixed_layers": Mixed(drawn, 0, "layers")
  }


@pytest.mark.parametrize(
  "names, message",
  [
    (["w9"], "'w9' is no width"),
    (["float_noise"], "'float_noise' is no width"),
    (["w2a2_nois"], "unknown quantizer 'nois': did you mean noise"),
  ],
)
def test_other_names_are_refused(names, message):
  with pytest.raises(QinitError, match=message):
    simulations(names)


def test_unknown_rows_are_refused():
  with pytest.raises(QinitError, match="unknown quantizer 'noisy'"):
    simulations(["float"], "noisy")
  with pytest.raises(QinitError, match="unknown weight clip 'max'"):
    simulations(["float"], weight_clip="max")
  with pytest.raises(QinitError, match="log quantizer has no step to learn"):
    simulations(["w4a4"], "log", "learned")
