"""Figures of the hypernetworks."""

import dataclasses

import pytest

from qinit.report import ghn_figures
from tests.report.ghn_rows import TRAINING, clipped, row


def test_clipped_networks_have_a_mark_of_their_own():
  rows = [row("q", "test", 0, bits, 9.0) for bits in ("float", "w4a4")]
  rows += clipped(rows)
  figure = ghn_figures.quantised_against_float(rows, "q")
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ["Test (ID)", "Test (ID) (percentile)"]


def test_widths_are_drawn_on_the_same_axes_from_chance_on():
  accuracies = {"float": 40.0, "w8a8": 39.0, "w2a2": 12.0}
  rows = [row("q", "test", 0, *found) for found in accuracies.items()]
  wide, narrow = ghn_figures.quantised_against_float(rows, "q").axes
  assert wide.get_xlim() == narrow.get_xlim()
  assert wide.get_ylim() == narrow.get_ylim()
  assert 0 < wide.get_xlim()[0] < 10 and 0 < wide.get_ylim()[0] < 10


def test_a_hypernetwork_keeps_its_colour_where_weights_are_clipped():
  rows = [row("a", "test", 0, bits, 9.0) for bits in ("float", "w4a4")]
  rows += [*clipped(rows), row("b", "test", 0, "w4a4", 8.0)]
  (ax,) = ghn_figures.accuracy_by_width(rows).axes
  whole, broken, other = (bars.lines[0] for bars in ax.containers)
  assert whole.get_color() == broken.get_color() != other.get_color()
  assert [x.get_linestyle() for x in (whole, broken, other)] == ["-", "--", "-"]


def test_a_dozen_hypernetworks_have_a_colour_each():
  rows = [
    row(f"ghn{i}", "test", 0, bits, 9.0)
    for i in range(12)
    for bits in ("float", "w4a4")
  ]
  (ax,) = ghn_figures.accuracy_by_width(rows).axes
  assert len({bars.lines[0].get_color() for bars in ax.containers}) == 12


def test_curves_too_short_to_be_seen_are_not_drawn():
  long, short = (
    dataclasses.replace(TRAINING, metrics=TRAINING.metrics | {"steps": steps})
    for steps in (301, 30)
  )
  drawn = ghn_figures.learning_curves([long, short, short])
  assert [len(ax.lines) for ax in drawn.axes] == [1, 1]


def test_widths_go_from_the_widest_and_the_legend_fits_one_panel():
  rows = [
    row(f"a-hypernetwork-{i}", "test", 0, bits, 30.0)
    for i in range(4)
    for bits in ("w4a4", "mixed", "float", "w8a8")
  ]
  figure = ghn_figures.accuracy_by_width(rows)
  ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
  assert ticks == ["Float32", "W8/A8", "W4/A4", "Mixed"]
  figure.draw_without_rendering()
  box = figure.legends[0].get_window_extent()
  assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_no_line_leads_to_mixed_widths_or_noise():
  widths = ("float", "w4a4", "w2a2_noise", "mixed")
  rows = [row("a", "test", 0, bits, 30.0) for bits in widths]
  figure = ghn_figures.accuracy_by_width(rows)
  joined, apart = (bars.lines[0] for bars in figure.axes[0].containers)
  assert list(joined.get_xdata()) == [0, 1] and joined.get_linestyle() == "-"
  assert list(apart.get_xdata()) == [2, 3] and apart.get_linestyle() == "None"
  assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a"]


def test_smoothing_keeps_a_line_straight():
  found = ghn_figures._smooth([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
  assert found[2:5] == pytest.approx([3, 4, 5])
  assert len(found) == 7
