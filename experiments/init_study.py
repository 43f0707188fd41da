"""Trains CNNs from chosen initialisers, quantises them to unsigned integers
and shows what that cost, layer by layer.

  python -m experiments.init_study --preset=quick
  python -m experiments.init_study --init=he_uniform --arch=dws_conv_bn
  python -m experiments.init_study --init=all --arch=all --preset=paper

The default preset, `reduced`, takes about four minutes a cell on two CPU
cores. Finished cells are skipped when the command is run again; interrupted
ones go on at their last epoch.
"""

from absl import flags

from experiments import app, training
from experiments.axes import names, seeds, widths
from experiments.engines import carry_out
from experiments.progress import ProgressLine, duration
from qinit.archs.zoo import ARCHS
from qinit.params.initializers import INITIALIZERS, PAPER_INITIALIZERS

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

  def draw(record):
    if record.status == "ok":
      report.draw_cell(study.folder(init_study.cell_of(record)))

  carry_out(study, ProgressLine, summary, draw)


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
  chosen = training.settings()
  axes = {
    "archs": names("architecture", _ARCH.value, ARCHS),
    "inits": _inits(_INIT.value),
    "seeds": seeds(_SEEDS.value),
    "bits": widths(_BITS.value),
  }
  app.load_tensorflow()
  from qinit.study.init_study import InitStudy

  return InitStudy(
    output_dir=_OUTPUT_DIR.value or f"runs/init_study_{training.PRESET.value}",
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
