"""The pictures say what the rows say."""

import numpy as np

from qinit.lpgnas.baselines import draw as draw_network
from qinit.lpgnas.space import Space
from qinit.report import network_drawing, pareto
from qinit.report.gnn_rows import groups
from tests.lpgnas.test_study import row


def texts(figure):
  (ax,) = figure.axes
  return [text.get_text() for text in ax.texts]


def test_every_component_and_its_precision_is_drawn():
  arch, precision = draw_network(Space(blocks=3), np.random.default_rng(2))
  figure = network_drawing.draw(
    {"arch": arch.to_dict(), "precision": precision}
  )
  found = texts(figure)
  for k, block in enumerate(arch.blocks, 1):
    assert f"linear, {block.hidden} channels" in found
    assert any(f"attention {block.attention}" in text for text in found)
    assert f"aggregation {block.aggregation}" in found
    assert any(
      text.startswith(precision[f"block{k}/aggregate"]) for text in found
    )
  arrows = sum(len(arch.sources(r)) for r in range(1, 5))
  assert found.count("") == arrows  # annotations without words


def test_a_float_network_has_no_widths():
  arch, _ = draw_network(Space(), np.random.default_rng(0))
  found = texts(
    network_drawing.draw({"arch": arch.to_dict(), "precision": None})
  )
  assert "float32" in found
  assert not any("bit" in text for text in found)


def test_the_plot_joins_the_betas_in_order():
  rows = [
    row("lpgnas", 1.0, 0, 70.0, 8000),
    row("lpgnas", 0.1, 0, 89.0, 80000),
    row("w4a8_search", 0.1, 0, 88.0, 40000),
    row("w4a8_fixed_gcn", None, 0, 60.0, 40000),
  ]
  (ax,) = pareto.draw(groups(rows), "model_bits").axes
  joined = [line for line in ax.lines if len(line.get_xdata()) == 2]
  assert joined[0].get_xdata().tolist() == [10, 1]  # kB
  assert joined[0].get_ydata().tolist() == [89, 70]
  labels = {line.get_label() for line in ax.lines}
  assert {"LPGNAS-style search", "search at W4A8", "W4A8"} <= labels
  assert ax.get_xscale() == "log"
