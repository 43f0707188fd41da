"""A derived graph network with the precision of each of its components."""

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from qinit.lpgnas.formats import parse
from qinit.lpgnas.space import LEARNED, Architecture
from qinit.report import style

_STEP, _HEIGHT, _WIDTH = 1.25, 0.95, 3.3


@style.drawing
def draw(network: dict) -> Figure:
  """Blocks from left to right, what happens in each from top to bottom; the
  bar in a component is as long as its width in bits.

  Args:
    network: `arch` and `precision` as in a record; `precision` None for float.
  """
  arch = Architecture.from_dict(network["arch"])
  columns = [_features(), *_columns(arch), _output(arch)]
  precision = network["precision"] or {}
  figure = Figure(figsize=(2.9 * len(columns), 5.4), layout="constrained")
  ax = figure.subplots()
  ax.set_axis_off()
  for x, (title, parts) in enumerate(columns):
    centre = x * _STEP * _WIDTH
    ax.text(centre, 1.0, title, ha="center", weight="bold")
    for y, (what, tensor) in enumerate(parts):
      _component(ax, centre, -y * 1.15, what, tensor, precision)
  _arrows(ax, arch)
  ax.set_xlim(-_WIDTH * 0.7, (len(columns) - 1) * _STEP * _WIDTH + _WIDTH * 0.7)
  tallest = max(len(parts) for _, parts in columns)
  skips = len(arch.skips) + sum(len(b.skips) for b in arch.blocks)
  ax.set_ylim(-tallest * 1.15 + 0.5, 1.7 + 0.3 * skips)
  return figure


def _features():
  return "Features", [("input", "input")]


def _heads(count):
  return "1 head" if count == 1 else f"{count} heads"


def _columns(arch):
  for k, block in enumerate(arch.blocks, 1):
    name = f"block{k}"
    parts = [
      ("weights", f"{name}/weight"),
      (f"linear, {block.hidden} channels", f"{name}/linear"),
    ]
    if block.attention in LEARNED:
      parts.append(("attention weights", f"{name}/vectors"))
    heads = f", {_heads(block.heads)}" if block.attention in LEARNED else ""
    stored = None if block.attention == "const" else f"{name}/attention"
    parts += [
      (f"attention {block.attention}{heads}", stored),
      (f"aggregation {block.aggregation}", f"{name}/aggregate"),
      (f"activation {block.activation}", f"{name}/activation"),
    ]
    yield f"Block {k}", parts


def _output(arch):
  return "Output", [("weights", "output/weight")]


def _component(ax, x, y, what, tensor, precision):
  weights = tensor is not None and tensor.endswith(("weight", "vectors"))
  color = style.ORANGE if weights else style.BLUE
  box = dict(boxstyle="round,pad=0,rounding_size=0.12", linewidth=1)
  corner = (x - _WIDTH / 2, y - _HEIGHT / 2)
  ax.add_patch(
    FancyBboxPatch(
      corner, _WIDTH, _HEIGHT, facecolor="white", edgecolor=color, **box
    )
  )
  name = precision.get(tensor)
  ax.text(x, y + 0.22, what, ha="center", va="center", fontsize=8)
  label = f"{name}, {parse(name).bits} bit" if name else "not stored"
  if not precision:
    label = "float32"
  ax.text(x, y - 0.08, label, ha="center", va="center", fontsize=8, color=color)
  if name:
    full, left = _WIDTH - 0.4, x - _WIDTH / 2 + 0.2
    share = parse(name).bits / 16
    ax.plot([left, left + full], [y - 0.34] * 2, color=style.PALE, linewidth=3)
    ax.plot(
      [left, left + share * full], [y - 0.34] * 2, color=color, linewidth=3
    )


def _arrows(ax, arch):
  """Who reads whom: the block before straight, others over the top."""
  look = dict(arrowstyle="->", color=style.GREY, linewidth=1.2)
  for i, (source, reader) in enumerate(_edges(arch)):
    start, end = source * _STEP * _WIDTH, reader * _STEP * _WIDTH
    if source == reader - 1:
      ends = (end - _WIDTH / 2, 0), (start + _WIDTH / 2, 0)
      ax.annotate("", *ends, arrowprops=look)
      continue
    # Each at a height and a place of its own.
    start, end, top = start + 0.12 * i, end - 0.12 * i, 1.7 + 0.3 * i
    ax.plot([start, start, end], [1.4, top, top], color=style.GREY, lw=1.2)
    ax.annotate("", (end, 1.35), (end, top), arrowprops=look)


def _edges(arch):
  readers = range(1, len(arch.blocks) + 2)
  edges = [(s, r) for r in readers for s in arch.sources(r)]
  return sorted(edges, key=lambda edge: edge[0] != edge[1] - 1, reverse=True)
