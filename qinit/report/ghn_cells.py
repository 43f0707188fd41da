"""Cells of the evaluation of hypernetworks, each a hypernetwork at a width on a
split, with their names and their order."""

from collections.abc import Iterable

from qinit.quant.scheme import parse_width
from qinit.record import Record

SPLITS = {
  "test": "Test (ID)",
  "deep": "Deep",
  "wide": "Wide",
  "bn_free": "BN-Free",
}
HEAD = ("Hypernetwork", "Split", "Width", "Networks")


def cell_key(record: Record) -> tuple[str, str, str, str]:
  """Hypernetwork, width, range of weights and split of a row."""
  cell = record.cell
  return cell["ghn"], cell["bits"], cell["weight_clip"], cell["split"]


def by_cell(records: Iterable[Record]) -> dict[tuple, dict[int, dict]]:
  """Metrics by network, by (hypernetwork, width, range of weights, split): the
  hypernetworks in their order, each from its widest width on. Of a network's
  rows the one on the most images counts."""
  found: dict[tuple, dict[int, dict]] = {}
  for record in records:
    if record.status == "ok":
      own = found.setdefault(cell_key(record), {})
      network = record.cell["network"]
      known = own.setdefault(network, record.metrics)
      if record.metrics["images"] >= known["images"]:
        own[network] = record.metrics
  ghns, splits = names(found), list(SPLITS)

  def place(item):
    (ghn, bits, clip, split), _ = item
    return ghns.index(ghn), clip, width_order(bits), splits.index(split)

  return dict(sorted(found.items(), key=place))


def at_own_widths(found: dict[tuple, dict]) -> list[tuple[tuple, dict]]:
  """The cells of hypernetworks whose name ends with the cell's width."""
  return [(key, mine) for key, mine in found.items() if key[0].endswith(key[1])]


def common(mine: dict[int, dict], theirs: dict[int, dict]) -> dict[int, dict]:
  """Metrics by network, of those that the other has too."""
  return {n: metrics for n, metrics in mine.items() if n in theirs}


def names(found: dict[tuple, dict]) -> list[str]:
  """The hypernetworks, in their order."""
  return list(dict.fromkeys(ghn for ghn, *_ in found))


def kind(ghn: str) -> str:
  """The first word of its name: those of one kind began alike."""
  return ghn.partition("-")[0]


def is_control(ghn: str) -> bool:
  """Whether it was trained in float for as long as others through
  quantisation."""
  return ghn.endswith("control")


def controls(found: dict[tuple, dict]) -> list[str]:
  """The controls among the hypernetworks of `by_cell`."""
  return [name for name in names(found) if is_control(name)]


def control_of(ghn: str, found: dict[tuple, dict]) -> str | None:
  """The control to compare with: one whose name has the same first word, as it
  began where `ghn` did ("bnfree-absolute-w4a8", "bnfree-control"), or else the
  first; none for a control."""
  if is_control(ghn):
    return None

  def elsewhere(control):
    return kind(control) != kind(ghn)

  return min(controls(found), key=elsewhere, default=None)


def row_head(key: tuple, metrics: dict[int, dict]) -> tuple[str, ...]:
  """The first columns, HEAD, of a cell of `by_cell`."""
  ghn, bits, clip, split = key
  return ghn, SPLITS[split], width_label(bits, clip), str(len(metrics))


def width_name(bits: str) -> str:
  """ "w4a8" as the paper has it, W4/A8; "w2a2_noise" is W2/A2 noise."""
  if not bits.startswith("w"):
    name = bits.capitalize().replace("_", " ")
    return {"float": "Float32"}.get(bits, name)
  bits, *quantizer = bits.split("_")
  return " ".join([bits.upper().replace("A", "/A"), *quantizer])


def clip_name(clip: str) -> str:
  """ " (percentile)"; an absolute range of the weights goes unsaid."""
  return "" if clip == "absolute" else f" ({clip})"


def width_label(bits: str, clip: str) -> str:
  """ "W4/A4 (percentile)", both of the above."""
  return width_name(bits) + clip_name(clip)


def width_order(bits: str) -> tuple:
  """A sorting key: float, from the widest on, noise behind the rounding that it
  stands for, then mixed widths."""
  if not bits.startswith("w"):
    return (0 if bits == "float" else 2, bits)
  width, _, quantizer = bits.partition("_")
  scheme = parse_width(width)
  return 1, -scheme.weight_bits, -scheme.activation_bits, quantizer
