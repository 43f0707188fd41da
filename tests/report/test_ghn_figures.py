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


def test_smoothing_keeps_a_line_straight_and_an_explosion_out():
  found = ghn_figures._smooth([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
  # Three and four points at the ends.
  assert found == pytest.approx([2, 2.5, 3, 4, 5, 5.5, 6])
  assert ghn_figures._smooth([2.0, 2.0, 1.0, 1.0, 99.0, 1.0])[2:] == [
    2,
    1,
    1,
    1,
  ]


def test_a_training_in_float_is_dashed_and_drawn_on_top():
  in_float = dataclasses.replace(
    TRAINING, cell=TRAINING.cell | {"bits": "float"}
  )
  drawn = ghn_figures.learning_curves([in_float, TRAINING])
  dashed, solid = drawn.axes[0].lines
  assert (dashed.get_linestyle(), solid.get_linestyle()) == ("--", "-")
  assert dashed.get_zorder() > solid.get_zorder()


def test_chance_is_that_of_each_panels_images_two_panels_a_row():
  images = {"test": 10_000, "deep": 1_024, "wide": 1_024, "bn_free": 10_000}
  rows = [
    row("a", split, 0, bits, 30.0, images=count)
    for split, count in images.items()
    for bits in ("float", "w4a4")
  ]
  figure = ghn_figures.accuracy_by_width(rows)
  dotted = [
    [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    for ax in figure.axes
  ]
  # 119 of the first 1,024 are horses.
  assert dotted == [[10], [pytest.approx(11.62)], [pytest.approx(11.62)], [10]]
  figure.draw_without_rendering()
  (x0, y0), (x1, y1), (x2, y2) = (
    (ax.get_position().x0, ax.get_position().y0) for ax in figure.axes[:3]
  )
  assert x0 == pytest.approx(x2) and x1 > x0
  assert y0 == pytest.approx(y1) and y2 < y0


def test_an_odd_panel_stands_alone_in_its_row():
  rows = [row("a", s, 0, "float", 9.0) for s in ("test", "deep", "wide")]
  assert len(ghn_figures.accuracy_by_width(rows).axes) == 3


def test_clipped_weights_have_open_marks():
  rows = [row("a", "test", 0, bits, 9.0) for bits in ("float", "w4a4")]
  (ax,) = ghn_figures.accuracy_by_width([*rows, *clipped(rows)]).axes
  whole, broken = (bars.lines[0] for bars in ax.containers)
  assert broken.get_markerfacecolor() == "white"
  assert whole.get_markerfacecolor() == whole.get_color()


def test_crosses_lie_on_top_of_the_points():
  rows = [row("q", "test", 0, bits, 9.0) for bits in ("float", "w4a4")]
  rows = [*clipped(rows), *rows]
  (ax,) = ghn_figures.quantised_against_float(rows, "q").axes
  order = {cloud.get_label(): cloud.get_zorder() for cloud in ax.collections}
  assert order["Test (ID) (percentile)"] > order["Test (ID)"]


@pytest.mark.parametrize("kernels, named, last", [(35, 35, 34), (136, 34, 132)])
def test_at_most_35_kernels_are_named(kernels, named, last):
  layers = [[f"{i}/kernel", -3, -2, -1, 0, 1, 2, 3] for i in range(kernels)]
  (ax,) = ghn_figures.predicted_weights(layers, "title").axes
  ticks = [label.get_text() for label in ax.get_xticklabels()]
  assert len(ticks) == named
  assert ticks[-1] == str(last) and ax.get_xticks()[-1] == last
