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

from absl import flags

from experiments import app, training
from experiments.axes import archs, names, seeds, unique, widths
from experiments.engines import carry_out
from experiments.progress import ProgressLine
from qinit.errors import one_of

_ARCH = flags.DEFINE_string(
  "arch", "dws_conv_bn", "Comma list of architectures or JSON files, or all."
)
_START = flags.DEFINE_string(
  "start",
  "he_uniform",
  "Comma list: an initialiser, ghn:CHECKPOINT (a path or the name of a"
  " published one) or checkpoint:PLACE.",
)
_METHOD = flags.DEFINE_string(
  "method",
  "qat",
  "Comma list: qat, float_qat, ptq, ptq_cle, ptq_bias, ptq_adaround.",
)
_QUANTIZER = flags.DEFINE_string(
  "quantizer",
  "simquant",
  "Comma list: simquant, noise, noise_step, noise_weights, lsq, tqt, pact,"
  " tfmot_default.",
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
_OUTPUT_DIR = flags.DEFINE_string(
  "output_dir", None, "Run folder; runs/qat_PRESET by default."
)


def main(argv):
  del argv
  study = settings()
  carry_out(study, ProgressLine, summary)


def summary(record) -> str:
  """One result in a line."""
  name, metrics = " ".join(map(str, record.cell.values())), record.metrics
  if record.status != "ok":
    return f"{name}: {record.status}"
  found = f"quantised {metrics['quint8_accuracy']:.2f} %"
  if "fp32_accuracy" not in metrics:  # of TFMOT's file there is nothing more
    return f"{name}: {found}"
  return (
    f"{name}: float {metrics['fp32_accuracy']:.2f} %, {found}; LiteRT"
    f" {metrics['litert_accuracy']:.2f} %,"
    f" {metrics['litert_equal_codes']:.3f} % of codes equal"
  )


def settings():
  """The flags as a QatStudy.

  Raises:
    QinitError: naming the flag's value that is wrong, and the right ones.
  """
  chosen = training.settings()
  axes = {
    "archs": archs(_ARCH.value),
    "bits": widths(_BITS.value),
    "seeds": seeds(_SEEDS.value),
  }
  app.load_tensorflow()
  from qinit.params.symmetry import CHANGES
  from qinit.quant.tfmot import QUANTIZERS, RANGES
  from qinit.study.qat import METHODS, TFMOT_DEFAULT, QatStudy

  return QatStudy(
    starts=unique(part.strip() for part in _START.value.split(",")),
    methods=names("method", _METHOD.value, METHODS),
    quantizers=names(
      "quantizer", _QUANTIZER.value, (*QUANTIZERS, TFMOT_DEFAULT)
    ),
    symmetry=one_of("symmetry", _SYMMETRY.value, CHANGES),
    ranges=one_of("kind of ranges", _RANGES.value, RANGES),
    qat_clip_percentile=_QAT_CLIP.value,
    damping=_DAMPING.value,
    freeze_above=_FREEZE.value,
    output_dir=_OUTPUT_DIR.value or f"runs/qat_{training.PRESET.value}",
    **axes,
    **chosen,
  )


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
