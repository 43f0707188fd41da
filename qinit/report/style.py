"""How lines look: one colour per family of initialisers, one marker and dash
per member, the same in every figure. The colours are those of Okabe and Ito,
then some of Tol's, which colour-blind readers can tell apart."""

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.typing import RcKeyType
from PIL import Image

from qinit.files import whole

BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
VERMILION, PURPLE, ORANGE = "#D55E00", "#CC79A7", "#E69F00"
BLACK, GREY, PALE = "#222222", "#777777", "#C9C9C9"
INDIGO, WINE, OLIVE, BROWN = "#332288", "#882255", "#999933", "#8C510A"

_DPI = 120
_MARKS = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ("-", "v"))
_FAMILIES = (
  (BLUE, ("rand_uni_small", "rand_uni_med", "rand_uni_large")),
  (ORANGE, ("rand_norm_small", "rand_norm_med", "rand_norm_large")),
  (GREEN, ("glorot_uniform", "glorot_normal")),
  (VERMILION, ("he_uniform", "he_normal", "he_uniform_torch_fan")),
  (PURPLE, ("mod_glorot_uni_med", "mod_glorot_uni_large")),
  (SKY, ("lecun_normal", "orthogonal", "delta_orthogonal", "lsuv")),
)


@dataclasses.dataclass(frozen=True)
class Line:
  color: str
  linestyle: str
  marker: str


LINES = {
  init: Line(color, *mark)
  for color, members in _FAMILIES
  for init, mark in zip(members, _MARKS, strict=False)
}
# Starts that a published hypernetwork predicted.
_PREDICTED = {
  "ghn_ghn2-cifar10-short": Line(BLACK, "-", "x"),
  "ghn_ghn-q": Line(GREY, "-", "+"),
  "ghn_ghn-qat-w4a4": Line(PURPLE, "-", "*"),
}


def line(start: str) -> Line:
  """The look of an initialiser or a predicted start; black for one without a
  place here."""
  return (LINES | _PREDICTED).get(start, Line(BLACK, "-", "x"))


RC: dict[RcKeyType, Any] = {
  "font.size": 9,
  "axes.titlesize": 10,
  "axes.labelsize": 9,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.axisbelow": True,
  "grid.color": "#E6E6E6",
  "grid.linewidth": 0.7,
  "legend.frameon": False,
  "legend.fontsize": 8.5,
  "lines.linewidth": 1.6,
  "lines.markersize": 4.5,
}


def save(figure: Figure, path: str | os.PathLike) -> None:
  """Writes a PNG, whole or not at all, whose bytes depend on nothing but the
  figure. A palette makes it a third as large: the files are committed."""
  raw = io.BytesIO()
  with matplotlib.rc_context(RC):
    figure.savefig(raw, dpi=_DPI, metadata={"Software": None})
  picture = Image.open(raw).convert("RGB").quantize(256)
  with whole(path) as partial:
    picture.save(partial, format="png", optimize=True)


def drawing(draw: Callable) -> Callable:
  """`draw` under this package's style, whatever the caller's is."""

  @functools.wraps(draw)
  def styled(*args, **kwargs):
    with matplotlib.rc_context(RC):
      return draw(*args, **kwargs)

  return styled


def legend_below(figure: Figure, handles: Iterable | None = None) -> None:
  """One legend for all panels, each label once, in as many columns as labels
  of this length have room for; of `handles` or of all that is labelled."""
  if handles is None:
    handles = (
      handle
      for ax in figure.axes
      for handle in ax.get_legend_handles_labels()[0]
    )
  named = {handle.get_label(): handle for handle in handles}
  inches = 0.6 + 0.075 * max(map(len, named), default=0)
  columns = max(1, int(figure.get_figwidth() / inches))
  figure.legend(
    named.values(), named, loc="outside lower center", ncols=columns
  )


def logarithmic(axis) -> None:
  """A logarithmic axis with numbers at 1, 2 and 5 times powers of ten."""
  axis.axes.set(**{f"{axis.axis_name}scale": "log"})
  axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  axis.set_major_formatter("{x:g}")
  axis.set_minor_formatter(NullFormatter())
