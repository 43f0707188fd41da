"""Trains CNNs from chosen initialisers, quantises them to unsigned integers
and shows what that cost, layer by layer.

  python -m experiments.init_study --preset=quick
  python -m experiments.init_study --init=he_uniform --arch=dws_conv_bn
  python -m experiments.init_study --init=all --arch=all --preset=paper

The default preset, `reduced`, takes about four minutes a cell on two CPU
cores. Finished cells are skipped when the command is run again; interrupted
ones go on at their last epoch.
"""

import sys

from absl import flags

from experiments import app
from experiments.engines import engine
from experiments.grid import names, seeds, widths
from experiments.progress import ProgressLine, duration
from qinit.archs.zoo import ARCHS
from qinit.errors import one_of
from qinit.grid import run as grid
from qinit.params.initializers import INITIALIZERS, PAPER_INITIALIZERS

PRESETS = {
  # Section 3.1 of the paper.
  "paper": dict(dataset="cifar10", epochs=200, width=1.0, batch_size=128),
  # Sized for about four minutes a cell on two CPU cores.
  "reduced": dict(dataset="cifar10", epochs=8, width=0.25, batch_size=128),
  # Under a minute, on images that need no download.
  "quick": dict(dataset="digits", epochs=12, width=0.25, batch_size=16),
}

_INIT = flags.DEFINE_string(
  "init",
  "he_uniform",
  "Comma list of initialisers, or all, or paper for the paper's twelve:"
  f" {', '.join(INITIALIZERS)}.",
)
_ARCH = flags.DEFINE_string(
  "arch",
  "dws_conv_bn",
  f"Comma list of architectures, or all: {', '.join(ARCHS)}.",
)
_SEEDS = flags.DEFINE_string("seeds", "0", "Comma list of seeds, 0 or more.")
_BITS = flags.DEFINE_string(
  "bits", "w8a8", "Comma list of widths, weights and activations 2 to 8 bits."
)
_PRESET = flags.DEFINE_string(
  "preset",
  "reduced",
  "paper, reduced or quick; flags given explicitly beat it.",
)
_DATASET = flags.DEFINE_string(
  "dataset", None, "cifar10, or digits (real images, no download)."
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "TFDS data folder; TFDS' own by default."
)
_EPOCHS = flags.DEFINE_integer("epochs", None, "Epochs.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", None, "Images per step.", lower_bound=1
)
_WIDTH = flags.DEFINE_float(
  "width", None, "Multiplier of all channel counts.", lower_bound=0.01
)
_CLIP = flags.DEFINE_float(
  "clip_percentile",
  1.0,
  "Percent of activations clipped on either side.",
  lower_bound=0.0,
  upper_bound=49.9,
)
_CALIBRATION = flags.DEFINE_integer(
  "calibration_images",
  1024,
  "Training images that set the ranges of activations.",
  lower_bound=1,
)
_OUTPUT_DIR = flags.DEFINE_string(
  "output_dir", None, "Run folder; runs/init_study_PRESET by default."
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print the cells and what they would take, then stop."
)


def main(argv):
  del argv
  study = settings()
  from qinit.report import run as report
  from qinit.study import init_study

  if _DRY_RUN.value:
    print(estimate(study))
    return
  line = ProgressLine(len(study.cells()), quiet=app.quiet())
  for record in grid.run(study, line, engine()):
    print(summary(record), flush=True)
    if record.status == "ok":
      report.draw_cell(study.folder(init_study.cell_of(record)))
  for complaint in report.rebuild(study.output_dir):
    print(complaint, file=sys.stderr)
  print(f"{study.output_dir}/report.html")


def summary(record) -> str:
  """One result in a line."""
  from qinit.study.init_study import cell_of

  cell, bits, metrics = cell_of(record), record.cell["bits"], record.metrics
  if record.status != "ok":
    return f"{cell} {bits}: {record.status}"
  return (
    f"{cell} {bits}: FP32 {metrics['fp32_accuracy']:.2f} %, quantised"
    f" {metrics['quint8_accuracy']:.2f} %, QMSE {metrics['qmse']:.4g}, QCE"
    f" {metrics['qce']:.4g}, decrease {metrics['accuracy_decrease']:.2f} %;"
    f" LiteRT {metrics['litert_accuracy']:.2f} %,"
    f" {metrics['litert_equal_codes']:.3f} % of codes equal"
  )


def settings():
  """The flags as an InitStudy.

  Raises:
    QinitError: naming the flag's value that is wrong, and the right ones.
  """
  preset = PRESETS[one_of("preset", _PRESET.value, PRESETS)]
  explicit = dict(
    dataset=_DATASET.value,
    epochs=_EPOCHS.value,
    width=_WIDTH.value,
    batch_size=_BATCH_SIZE.value,
  )
  chosen = {k: preset[k] if v is None else v for k, v in explicit.items()}
  one_of("data set", chosen["dataset"], ("cifar10", "digits"))
  axes = {
    "archs": names("architecture", _ARCH.value, ARCHS),
    "inits": _inits(_INIT.value),
    "seeds": seeds(_SEEDS.value),
    "bits": widths(_BITS.value),
  }
  app.load_tensorflow()
  from qinit.study.init_study import InitStudy

  return InitStudy(
    data_dir=_DATA_DIR.value,
    clip_percentile=_CLIP.value,
    calibration_images=_CALIBRATION.value,
    output_dir=_OUTPUT_DIR.value or f"runs/init_study_{_PRESET.value}",
    **axes,
    **chosen,
  )


def estimate(study) -> str:
  """The cells, and how long and how much memory they would take here."""
  from qinit.study.estimate import measure

  lines, total, memory = [], 0.0, 0.0
  costs = {arch: measure(study, arch) for arch in study.archs}
  for cell in study.cells():
    cost = costs[cell.arch]
    lines.append(f"{cell}: about {duration(cost.seconds)}")
    total, memory = total + cost.seconds, max(memory, cost.gibibytes)
  lines.append(
    f"{len(lines)} cell(s), about {duration(total)} and {memory:.1f} GiB of"
    " memory on this machine"
  )
  return "\n".join(lines)


def _inits(text):
  if text == "paper":
    return PAPER_INITIALIZERS
  return names("initialiser", text, INITIALIZERS)


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
