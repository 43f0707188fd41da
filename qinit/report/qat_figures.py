"""Accuracy against steps, from different starts."""

from matplotlib.figure import Figure as Picture

from qinit.record import Record
from qinit.report import grid, style
from qinit.report.qat_rows import Group, groups

# Of several quantizers in one panel; dots are for float.
_DASHES = ("-", "--", "-.")


@style.drawing
def curves(records: list[Record]) -> Picture:
  """A panel per kind of training, a line per start and quantizer."""
  panels: dict[str, list[Group]] = {}
  for group in groups(records):
    if group.is_drawn:
      panels.setdefault(group.method, []).append(group)
  figure = Picture(figsize=(4.6 * len(panels), 4.2), layout="constrained")
  columns = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
  for ax, (method, members) in zip(columns, panels.items(), strict=True):
    ax.set_title(method)
    ax.set_xlabel("Training steps")
    _lines(ax, members)
  columns[0].set_ylabel("Test accuracy (%)")
  style.legend_below(figure)
  return figure


def _lines(ax, members):
  quantizers = list(dict.fromkeys(group.quantizer for group in members))
  for group in members:
    look = style.line(group.start)
    dashes = _DASHES[quantizers.index(group.quantizer) % len(_DASHES)]
    _plot(ax, group.curve("float_curve"), linestyle=":", color=look.color)
    _plot(
      ax,
      group.curve("curve"),
      linestyle=look.linestyle if len(quantizers) == 1 else dashes,
      color=look.color,
      label=f"{grid.suffix(group.start)}, {group.quantizer}",
    )


def _plot(ax, curve, **look):
  ax.plot([p[0] for p in curve], [p[1] for p in curve], alpha=0.9, **look)
