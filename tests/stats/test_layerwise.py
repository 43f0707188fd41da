import dataclasses
import math

import pytest

from qinit.errors import RunError
from qinit.stats import layerwise
from qinit.stats.layerwise import LayerRow

ROWS = [
  LayerRow(
    1, "b", "weight", 2.0, -1.0, 1.0, 0.5, 3.0, 30.0, 0.0, 1e-5, 0.25, -0.5
  ),
  LayerRow(
    0, "a", "weight", 1.0, 0.0, 1.0, 0.25, 1.8, math.inf, 0.0, 0.0, 0.125, 0.0
  ),
  LayerRow(
    0, "a", "activation", 6.0, 0.0, 6.0, 0.75, 9.0, 20.5, 0.01, 0.1, 0.5, 1.0
  ),
]


def test_csv_as_text():
  assert layerwise.to_csv(ROWS[:2]) == (
    "layer,name,kind,range,min,max,average_precision,kurtosis,sqnr_db,"
    "clipped_share,qmse,kl,accuracy_loss\n"
    "1,b,weight,2,-1,1,0.5,3,30,0,1e-05,0.25,-0.5\n"
    "0,a,weight,1,0,1,0.25,1.8,inf,0,0,0.125,0\n"
  )


def test_csv_round_trip():
  assert layerwise.from_csv(layerwise.to_csv(ROWS)) == ROWS


def test_csv_keeps_nan():
  row = dataclasses.replace(ROWS[0], sqnr_db=math.nan)
  assert math.isnan(layerwise.from_csv(layerwise.to_csv([row]))[0].sqnr_db)


def test_of_kind_is_in_network_order():
  names = [row.name for row in layerwise.of_kind(ROWS, "weight")]
  assert names == ["a", "b"]


def test_worst_layer_changes_the_output_most():
  assert layerwise.worst_layer(ROWS, "weight").name == "b"
  unmeasured = [dataclasses.replace(r, kl=math.nan) for r in ROWS]
  assert layerwise.worst_layer(unmeasured, "weight") is None
  assert layerwise.worst_layer([], "weight") is None


@pytest.mark.parametrize(
  "text",
  [
    "",
    "layer,name\n0,a\n",
    layerwise.to_csv(ROWS)[:-12],
    layerwise.to_csv(ROWS).replace("activation,6", "bias,6"),
    layerwise.to_csv(ROWS).replace("20.5", "loud"),
  ],
)
def test_damaged_files_are_named(tmp_path, text):
  path = tmp_path / "layerwise.csv"
  path.write_text(text)
  with pytest.raises(RunError, match=r"layerwise\.csv is damaged"):
    layerwise.read_csv(path)
