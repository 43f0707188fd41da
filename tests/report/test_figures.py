import math

import numpy as np
import pytest
from PIL import Image

from qinit.params.initializers import INITIALIZERS
from qinit.report import dotplot, figures, grid, style
from qinit.stats.distribution import histogram

RUNS = {"he_uniform": 1.0, "rand_uni_large": 3.0, "glorot_uniform": 0.5}


@pytest.fixture
def runs(make):
  return {
    init: make.layers("dws_conv_bn", i, scale)
    for i, (init, scale) in enumerate(RUNS.items())
  }


def _labels(figure):
  return [text.get_text() for text in figure.legends[0].get_texts()]


def test_layerwise_draws_every_run_in_every_panel(runs):
  figure = figures.layerwise(runs, "A title")
  assert len(figure.axes) == 6
  assert all(len(ax.lines) == 3 for ax in figure.axes)
  assert _labels(figure) == ["HeUni", "RandUni_Large", "GlorotUni"]
  assert figure.get_suptitle() == "A title"
  assert [ax.get_ylabel() for ax in figure.axes[::2]] == [
    "Range",
    "Average channel precision",
    "KL of the output (nats)\nwith this layer alone quantised",
  ]
  assert [ax.get_yscale() for ax in figure.axes[:2]] == ["log", "log"]


def test_layerwise_draws_the_numbers_of_the_rows(runs):
  ax = figures.layerwise({"he_uniform": runs["he_uniform"]}, "").axes[3]
  wanted = [
    r.average_precision for r in runs["he_uniform"] if r.kind == "activation"
  ]
  np.testing.assert_array_equal(ax.lines[0].get_ydata(), wanted)


def test_layers_are_named(runs):
  ax = figures.layerwise(runs, "").axes[4]
  names = [tick.get_text() for tick in ax.get_xticklabels()]
  assert names[:3] == ["stem", "block1_dw", "block1_pw"]
  assert names[-1] == "logits"


def test_only_the_highlighted_are_in_colour(runs):
  figure = figures.layerwise(runs, "", ["he_uniform"])
  colors = [line.get_color() for line in figure.axes[0].lines]
  assert colors == [style.PALE, style.PALE, style.VERMILION]
  assert _labels(figure) == ["HeUni", "2 others"]


def test_what_cannot_be_drawn_leaves_a_gap(make):
  rows = [
    make.layer(0, "a", "weight", 0.0, math.nan, kl=0.0),
    make.layer(1, "b", "weight", 2.0, 0.5, kl=0.1),
  ]
  figure = figures.layerwise({"he_uniform": rows}, "")
  for ax in figure.axes[::2]:
    assert np.isnan(ax.lines[0].get_ydata()).tolist() == [True, False]


def test_range_and_precision_share_a_plot(runs):
  figure = figures.range_and_precision(runs["he_uniform"], "One")
  labels = {ax.get_ylabel() for ax in figure.axes}
  assert labels == {"Range (solid)", "Average precision (dashed)"}
  assert len(figure.axes) == 4
  assert all(len(ax.lines) == 1 for ax in figure.axes)


def test_a_strip_per_layer():
  values = np.random.default_rng(0).normal(size=500)
  found = {
    ("weight", "a"): histogram(values, -3, 3),
    ("weight", "b"): histogram(values, -3, 3),
    ("activation", "a"): histogram(np.maximum(values, 0), 0, 3),
    ("activation", "dead"): histogram(np.zeros(9), 0, 0),
  }
  above, below = figures.distributions(found, "One", "w2a4").axes
  assert [t.get_text() for t in above.get_xticklabels()] == ["a", "b"]
  assert [t.get_text() for t in below.get_xticklabels()] == ["a", "dead"]
  assert above.get_ylabel() == "Code (0 to 3)"
  assert below.get_ylabel() == "Code (0 to 15)"


def test_accuracy_has_a_panel_per_architecture(study):
  records, _ = study
  figure = dotplot.accuracy(records)
  assert [ax.get_title() for ax in figure.axes] == [
    "Regular_Conv_With_BN",
    "DWS_Conv_With_BN",
    "DWS_Conv_No_BN",
    "MbNetv2_Conv_With_BN",
  ]
  notes = [text.get_text() for text in figure.axes[2].texts]
  assert len(notes) == 12 and notes.count("diverged") == 4
  assert "RandUni_Small" in [
    t.get_text() for t in figure.axes[0].get_yticklabels()
  ]


def test_accuracy_of_nothing_but_divergence(make):
  rows = [make.row("dws_conv_bn", "lsuv", status="diverged")]
  figure = dotplot.accuracy(rows)
  assert figure.axes[0].get_xlim()[0] == 0
  assert [t.get_text() for t in figure.axes[0].texts] == ["diverged"]


def test_every_initialiser_has_a_look_of_its_own():
  assert set(style.LINES) == set(INITIALIZERS)
  assert len(set(style.LINES.values())) == len(style.LINES)
  assert style.line("new").color == style.BLACK
  assert grid.suffix("new") == "new"


def test_saved_pictures_are_reproducible(runs, tmp_path):
  paths = [tmp_path / name for name in ("a.png", "b.png")]
  for path in paths:
    style.save(figures.range_and_precision(runs["he_uniform"], ""), path)
  assert paths[0].read_bytes() == paths[1].read_bytes()
  assert Image.open(paths[0]).size == (1080, 960)
  assert sorted(tmp_path.iterdir()) == paths
