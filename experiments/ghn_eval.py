"""Evaluates a graph hypernetwork on the test splits of ConvNets-250K, float
and quantised.

  python -m experiments.ghn_eval --ghn=runs/ghn_q/ghn --output_dir=runs/eval
  python -m experiments.ghn_eval --ghn=ghn2.pt --virtual_edge=10 \\
    --splits=deep,wide --images=1024 --output_dir=runs/eval

A row is kept for each network and width; the same command goes on where it
was interrupted. Several hypernetworks may share a run folder.
"""

import os
import sys

from absl import flags

from experiments import app
from experiments.engines import engine
from qinit.errors import QinitError

_GHN = flags.DEFINE_string(
  "ghn", None, "A .pt file, a folder, or the name of a published one."
)
_LABEL = flags.DEFINE_string("label", "", "What the rows call it.")
_SPLITS = flags.DEFINE_string(
  "splits", "test,deep,wide,bn_free", "Comma list of splits."
)
_BITS = flags.DEFINE_string(
  "bits",
  "float,w8a8,w4a8,w4a4,w2a2",
  "Comma list of widths, float first; w2a2_noise is noise for rounding as in"
  " training, w4a4_log logarithmic codes; mixed draws w8a8, w4a8 or w4a4"
  " for each chain of layers, mixed_layers for each layer.",
)
_NETWORKS = flags.DEFINE_integer(
  "networks", 60, "Networks of each split, 0 for all.", lower_bound=0
)
_IMAGES = flags.DEFINE_integer(
  "images", 10_000, "Test images.", lower_bound=1, upper_bound=10_000
)
_WEIGHT_CLIP = flags.DEFINE_string(
  "weight_clip",
  "absolute",
  "Range of the weights: absolute, percentile or learned.",
)
_EDGE = flags.DEFINE_integer(
  "virtual_edge",
  0,
  "Cut-off of the shortest paths; 0 for the hypernetwork's own.",
  lower_bound=0,
  upper_bound=255,
)
_SAMPLED = flags.DEFINE_bool(
  "sampled", False, "Sample the networks now instead of reading ConvNets-250K."
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "TFDS data folder of the images; TFDS' own by default."
)
_NETWORKS_DIR = flags.DEFINE_string(
  "networks_dir", None, "TFDS data folder of ConvNets-250K; TFDS' own."
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/ghn_eval", "Run folder.")


def main(argv):
  del argv
  if not _GHN.value:
    raise QinitError("--ghn is missing")
  if _SAMPLED.value and not _NETWORKS.value:
    raise QinitError("--sampled needs a number of --networks")
  # As many batches run at once as there are cores: threads within an operation
  # would be in their way.
  app.share_cores(os.cpu_count() or 1)
  app.use_onednn()
  app.load_tensorflow()
  from qinit.report import ghn_tables
  from qinit.report.document import Paragraph, to_markdown
  from qinit.study import ghn_eval

  rows = []
  for row in ghn_eval.run(_settings(), engine=engine()):
    rows.append(row)
    if not app.quiet():
      print(_summary(row), file=sys.stderr, flush=True)
  for title, metric in (("Top-1, %", "accuracy"), ("Top-5, %", "top5")):
    table = ghn_tables.accuracy_table(rows, metric)
    print(to_markdown([Paragraph(title), table]))


def _settings():
  """The flags as a GhnEval; raises QinitError."""
  from qinit.study.ghn_eval import GhnEval

  return GhnEval(
    ghn=_GHN.value,
    label=_LABEL.value,
    splits=_parts(_SPLITS.value),
    bits=_parts(_BITS.value),
    networks=_NETWORKS.value,
    images=_IMAGES.value,
    weight_clip=_WEIGHT_CLIP.value,
    virtual_edge=_EDGE.value,
    sampled=_SAMPLED.value,
    data_dir=_DATA_DIR.value,
    networks_dir=_NETWORKS_DIR.value,
    output_dir=_OUTPUT_DIR.value,
  )


def _parts(text):
  return tuple(part.strip() for part in text.split(","))


def _summary(row):
  cell = row.cell
  name = f"{cell['split']} {cell['network']} {cell['bits']}"
  if row.status != "ok":
    return f"{name}: {row.status}"
  return (
    f"{name}: {row.metrics['accuracy']:.2f} %"
    f" ({row.metrics['accuracy_change']:+.2f}), QMSE"
    f" {row.metrics['qmse']:.4g}, QCE {row.metrics['qce']:.4g}"
  )


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
