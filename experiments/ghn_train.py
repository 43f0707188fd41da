"""Trains a graph hypernetwork on ConvNets-250K, in float or through simulated
quantisation.

  python -m experiments.ghn_train --init_ghn=ghn2.pt --steps=8000 \\
    --output_dir=runs/ghn_q
  python -m experiments.ghn_train --bits=w4a4 --init_ghn=runs/ghn_q/ghn \\
    --steps=3000 --output_dir=runs/ghn_qat_w4a4

The same command goes on where it was interrupted. Several widths,
--bits=float,w8a8,w4a8,w4a4, train one hypernetwork for all of them.
"""

import sys

from absl import flags

from experiments import app
from experiments.progress import duration

_BITS = flags.DEFINE_string(
  "bits",
  "float",
  "float, w8a8, w4a8, w4a4, w2a2, ..., or a comma list, in which w2a2_noise"
  " takes another --quantizer and mixed draws w8a8, w4a8 or w4a4 for"
  " each chain of layers, mixed_layers for each layer.",
)
_QUANTIZER = flags.DEFINE_string(
  "quantizer", "simquant", "simquant, noise, noise_weights or log."
)
_WEIGHT_CLIP = flags.DEFINE_string(
  "weight_clip",
  "absolute",
  "Range of the weights: absolute, percentile or learned (a factor on the step"
  " of absolute, for each kind of layer and width).",
)
_INIT_GHN = flags.DEFINE_string(
  "init_ghn",
  "none",
  "Hypernetwork to start from: a .pt file, a folder, the name of a published"
  " one, or none.",
)
_SPLIT = flags.DEFINE_string("split", "train", "train or bn_free_50k.")
_STEPS = flags.DEFINE_integer(
  "steps", 0, "Steps; 0 for 100 epochs.", lower_bound=0
)
_MINUTES = flags.DEFINE_float(
  "minutes", 0, "Turned into steps once, at the start.", lower_bound=0
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images.", lower_bound=1)
_META_BATCH = flags.DEFINE_integer(
  "meta_batch", 4, "Networks per step.", lower_bound=1
)
_RATE = flags.DEFINE_float(
  "learning_rate", 1e-3, "Adam's; a tenth of it from epoch 75 of 100 on."
)
_DECAY = flags.DEFINE_float("weight_decay", 1e-5, "Coupled L2.")
_EDGE = flags.DEFINE_integer(
  "virtual_edge", 10, "Cut-off s_max of the shortest paths.", lower_bound=1
)
_PENALTY = flags.DEFINE_float(
  "norm_penalty", 0.0, "Times the sum of the predicted kernels' norms."
)
_DAMPING = flags.DEFINE_float(
  "damping",
  0.0,
  "Times the squared rounding errors of the predicted kernels.",
)
_MIXED = flags.DEFINE_bool(
  "mixed_precision", False, "bfloat16 for the networks, where they are float."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of everything random.", lower_bound=0)
_NETWORKS = flags.DEFINE_integer(
  "networks", 0, "Sample so many now instead of reading ConvNets-250K."
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "TFDS data folder of the images; TFDS' own by default."
)
_NETWORKS_DIR = flags.DEFINE_string(
  "networks_dir", None, "TFDS data folder of ConvNets-250K; TFDS' own."
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/ghn_train", "Run folder.")
_EVERY = flags.DEFINE_float(
  "checkpoint_minutes", 3.0, "Minutes between checkpoints.", lower_bound=0
)


def main(argv):
  del argv
  app.use_onednn()
  app.share_cores(2)  # two networks at once
  app.load_tensorflow()
  settings = _settings()
  from qinit.study import ghn_train

  row = ghn_train.run(settings, _quiet if app.quiet() else _show)
  print(
    f"{settings.output_dir}/ghn: {row.metrics['steps']} steps, loss"
    f" {row.metrics['loss']:.3f}, accuracy {row.metrics['accuracy']:.1f} %"
  )


def _settings():
  """The flags as a GhnTrain; raises QinitError."""
  from qinit.study.ghn_train import GhnTrain

  return GhnTrain(
    bits=tuple(part.strip() for part in _BITS.value.split(",")),
    quantizer=_QUANTIZER.value,
    weight_clip=_WEIGHT_CLIP.value,
    init_ghn=None if _INIT_GHN.value == "none" else _INIT_GHN.value,
    split=_SPLIT.value,
    steps=_STEPS.value,
    minutes=_MINUTES.value,
    batch_size=_BATCH_SIZE.value,
    meta_batch=_META_BATCH.value,
    learning_rate=_RATE.value,
    weight_decay=_DECAY.value,
    virtual_edge=_EDGE.value,
    norm_penalty=_PENALTY.value,
    damping=_DAMPING.value,
    mixed_precision=_MIXED.value,
    seed=_SEED.value,
    networks=_NETWORKS.value,
    data_dir=_DATA_DIR.value,
    networks_dir=_NETWORKS_DIR.value,
    output_dir=_OUTPUT_DIR.value,
    checkpoint_minutes=_EVERY.value,
  )


def _show(progress):
  left = (progress.steps - progress.step) / max(progress.steps_per_second, 1e-9)
  skipped = f", {progress.skipped} skipped" if progress.skipped else ""
  print(
    f"step {progress.step}/{progress.steps}, loss {progress.loss:.3f},"
    f" accuracy {progress.accuracy:.1f} %,"
    f" {progress.steps_per_second:.2f} steps/s{skipped},"
    f" {duration(left)} left",
    file=sys.stderr,
    flush=True,
  )


def _quiet(progress):
  pass


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
