"""Trains networks for quantisation from chosen starting points, exports them
and checks the files in LiteRT.

  python -m experiments.qat --preset=quick
  python -m experiments.qat --start=he_uniform --bits=w4a4 --quantizer=lsq
  python -m experiments.qat --start=he_uniform,ghn:ghn2.pt \\
    --method=ptq,float_qat,qat --seeds=0,1,2
  python -m experiments.qat --start=checkpoint:runs/study/cells/CELL

The default preset, `reduced`, takes about eight minutes a cell on two CPU
cores. Finished cells are skipped when the command is run again; interrupted
ones go on at their last epoch.
"""

import sys

from absl import flags

from experiments import app
from experiments.engines import engine
from experiments.grid import archs, names, seeds, unique, widths
from experiments.progress import ProgressLine
from qinit.errors import one_of
from qinit.grid import run as grid

PRESETS = {
  "paper": dict(dataset="cifar10", epochs=200, width=1.0, batch_size=128),
  "reduced": dict(dataset="cifar10", epochs=8, width=0.25, batch_size=128),
  "quick": dict(dataset="digits", epochs=12, width=0.25, batch_size=16),
}

_ARCH = flags.DEFINE_string(
  "arch", "dws_conv_bn", "Comma list of architectures or JSON files, or all."
)
_START = flags.DEFINE_string(
  "start",
  "he_uniform",
  "Comma list: an initialiser, ghn:CHECKPOINT or checkpoint:PLACE.",
)
_METHOD = flags.DEFINE_string(
  "method",
  "qat",
  "Comma list: qat, float_qat, ptq, ptq_cle, ptq_bias, ptq_adaround.",
)
_QUANTIZER = flags.DEFINE_string(
  "quantizer",
  "simquant",
  "Comma list: simquant, noise, noise_step, noise_weights, lsq, tqt, pact.",
)
_BITS = flags.DEFINE_string(
  "bits", "w4a4", "Comma list of widths, weights and activations 2 to 8 bits."
)
_SEEDS = flags.DEFINE_string("seeds", "0", "Comma list of seeds, 0 or more.")
_SYMMETRY = flags.DEFINE_string(
  "symmetry",
  "none",
  "How equal channels of a predicted start are told apart: none, noise or"
  " orthogonal.",
)
_RANGES = flags.DEFINE_string(
  "ranges", "ema", "Of activations in training: ema, absolute or percentile."
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
_EPOCHS = flags.DEFINE_integer("epochs", None, "Epochs.", lower_bound=2)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", None, "Images per step.", lower_bound=1
)
_WIDTH = flags.DEFINE_float(
  "width", None, "Multiplier of all channel counts.", lower_bound=0.01
)
_CLIP = flags.DEFINE_float(
  "clip_percentile",
  1.0,
  "Percent of activations clipped on either side after training in float.",
  lower_bound=0.0,
  upper_bound=49.9,
)
_QAT_CLIP = flags.DEFINE_float(
  "qat_clip_percentile",
  0.0,
  "The same in training for quantisation.",
  lower_bound=0.0,
  upper_bound=49.9,
)
_DAMPING = flags.DEFINE_float(
  "damping", 0.0, "Factor of the oscillation damping loss.", lower_bound=0.0
)
_FREEZE = flags.DEFINE_float(
  "freeze_above",
  None,
  "Oscillation frequency above which weights are frozen; none by default.",
)
_CALIBRATION = flags.DEFINE_integer(
  "calibration_images",
  1024,
  "Training images that set the ranges of activations.",
  lower_bound=1,
)
_OUTPUT_DIR = flags.DEFINE_string(
  "output_dir", None, "Run folder; runs/qat_PRESET by default."
)


def main(argv):
  del argv
  study = settings()
  from qinit.report import run as report

  line = ProgressLine(len(study.cells()), quiet=app.quiet())
  for record in grid.run(study, line, engine()):
    print(summary(record), flush=True)
  for complaint in report.rebuild(study.output_dir):
    print(complaint, file=sys.stderr)
  print(f"{study.output_dir}/report.html")


def summary(record) -> str:
  """One result in a line."""
  name, metrics = " ".join(map(str, record.cell.values())), record.metrics
  if record.status != "ok":
    return f"{name}: {record.status}"
  return (
    f"{name}: float {metrics['fp32_accuracy']:.2f} %, quantised"
    f" {metrics['quint8_accuracy']:.2f} %; LiteRT"
    f" {metrics['litert_accuracy']:.2f} %,"
    f" {metrics['litert_equal_codes']:.3f} % of codes equal"
  )


def settings():
  """The flags as a QatStudy.

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
    "archs": archs(_ARCH.value),
    "bits": widths(_BITS.value),
    "seeds": seeds(_SEEDS.value),
  }
  app.load_tensorflow()
  from qinit.params.symmetry import CHANGES
  from qinit.quant.tfmot import QUANTIZERS, RANGES
  from qinit.study.qat import METHODS, QatStudy

  return QatStudy(
    starts=unique(part.strip() for part in _START.value.split(",")),
    methods=names("method", _METHOD.value, METHODS),
    quantizers=names("quantizer", _QUANTIZER.value, QUANTIZERS),
    symmetry=one_of("symmetry", _SYMMETRY.value, CHANGES),
    ranges=one_of("kind of ranges", _RANGES.value, RANGES),
    data_dir=_DATA_DIR.value,
    clip_percentile=_CLIP.value,
    qat_clip_percentile=_QAT_CLIP.value,
    damping=_DAMPING.value,
    freeze_above=_FREEZE.value,
    calibration_images=_CALIBRATION.value,
    output_dir=_OUTPUT_DIR.value or f"runs/qat_{_PRESET.value}",
    **axes,
    **chosen,
  )


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
