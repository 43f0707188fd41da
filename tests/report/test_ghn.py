"""The sections on hypernetworks, from rows made by hand."""

import dataclasses

import pytest

from qinit.report import ghn
from qinit.report.document import Figure, to_markdown
from tests.report.ghn_rows import ROWS, TRAINING, row, study


@pytest.mark.parametrize(
  "workers, threads, text",
  [(1, 2, "X, 2 threads"), (2, 1, "X, 2 workers, 1 thread each")],
)
def test_the_training_table_tells_of_workers(workers, threads, text):
  record = dataclasses.replace(
    TRAINING,
    metrics=TRAINING.metrics | {"workers": workers},
    env={"hardware": "X", "threads": threads},
  )
  assert text in to_markdown(ghn.training(study(record)))


def test_the_training_table_tells_of_oscillation_and_of_penalties():
  record = dataclasses.replace(
    TRAINING,
    cell=TRAINING.cell | {"damping": 1e-4, "norm_penalty": 3e-5},
    metrics=TRAINING.metrics | {"oscillating": 48.3},
  )
  text = to_markdown(ghn.training(study(record)))
  name = "W4/A4 simquant damping 0.0001 norm penalty 3e-05 from ghn_q"
  assert name in text
  assert "| 48.3 |" in text


def test_the_evaluation_tells_of_its_hardware_and_how_many_networks():
  envs = [
    {"hardware": "X", "threads": 1, "seconds": 1.0},
    {"hardware": "Y", "threads": 2, "seconds": 1.0},
  ]
  counts = {"float": 3, "w8a8": 5, "w4a4": 12}
  rows = [
    dataclasses.replace(row("q", "test", i, bits, 30.0), env=envs[i % 2])
    for bits, count in counts.items()
    for i in range(count)
  ]
  text = to_markdown(ghn.evaluation(study(*rows)))
  assert "Hardware: X, 1 thread; Y, 2 threads." in text
  assert "Test (ID) 3 to 12 on 512." in text


def test_networks_that_are_left_out_are_named():
  lost = dataclasses.replace(
    row("q", "test", 1, "w2a2", 0.0), status="failed", metrics={}
  )
  kept = row("q", "test", 0, "w2a2", 30.0)
  left_out = "not finite are left out, in all tables and figures: "
  text = to_markdown(ghn.evaluation(study(kept, lost)))
  assert left_out + "q at W2/A2 (Test (ID)): 1." in text
  assert "| q | W2/A2 | 30.0; 30.0 |" in text
  assert left_out not in to_markdown(ghn.evaluation(study(kept)))


def test_sections_render_and_every_figure_draws():
  blocks = [
    *ghn.training(study(TRAINING)),
    *ghn.evaluation(study(*ROWS)),
  ]
  text = to_markdown(blocks)
  assert "72.0 ± 1.4; 74.0" in text
  assert "W4/A4 simquant from ghn_q" in text
  assert "test images: Test (ID) 2 on 512, Deep 1 on 512." in text
  figures = [block for block in blocks if isinstance(block, Figure)]
  assert len({figure.name for figure in figures}) == len(figures) == 5
  for figure in figures:
    assert figure.draw().axes
