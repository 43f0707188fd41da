"""Predicts all parameters of a network with a graph hypernetwork and
evaluates them with batch statistics.

  python -m experiments.ghn_predict --ghn=ghn2.pt --arch=net.json \\
    --images=x.npz --output=out/net
  python -m experiments.ghn_predict --ghn=ghn2.pt --arch=mbnetv2_bn \\
    --dataset=cifar10 --bits=float,w8a8,w4a4 --export_tflite --output=out/net

The prediction takes some hundredths of a second, the evaluation on 10,000
images about half a minute per width on two CPU cores.
"""

import json

from absl import flags

from experiments import app
from qinit.errors import QinitError

_GHN = flags.DEFINE_string(
  "ghn", None, "A .pt file, a folder, or the name of a published one."
)
_ARCH = flags.DEFINE_string(
  "arch", None, "A JSON file of a network, or a name of the zoo."
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "Path of what is written, without its ending."
)
_IMAGES = flags.DEFINE_string(
  "images", None, "npz with x, float32 NHWC, normalised: one batch."
)
_DATASET = flags.DEFINE_string("dataset", None, "cifar10.")
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "TFDS data folder; TFDS' own by default."
)
_BITS = flags.DEFINE_string(
  "bits",
  "float",
  "Comma list of widths: float, w8a8, w4a4, ... A hypernetwork that sees widths"
  " predicts for each; the first is written.",
)
_TFLITE = flags.DEFINE_bool("export_tflite", False, "Write OUT.tflite too.")
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", 64, "Images whose statistics BatchNorm uses.", lower_bound=1
)
_CLIP = flags.DEFINE_float(
  "clip_percentile",
  1.0,
  "Percent of activations clipped on either side; 0 for absolute ranges.",
  lower_bound=0.0,
  upper_bound=49.9,
)
_CALIBRATION = flags.DEFINE_integer(
  "calibration_images", 1024, "Training images for ranges.", lower_bound=1
)
_NUM_IMAGES = flags.DEFINE_integer(
  "num_images", 0, "Test images, 0 for all.", lower_bound=0
)


def main(argv):
  del argv
  for flag in (_GHN, _ARCH, _OUTPUT):
    if not flag.value:
      raise QinitError(f"--{flag.name} is missing")
  app.load_tensorflow()
  from qinit.quant.scheme import parse_bits
  from qinit.study import ghn_predict

  settings = ghn_predict.Settings(
    ghn=_GHN.value,
    arch=_ARCH.value,
    output=_OUTPUT.value,
    images=_IMAGES.value,
    dataset=_DATASET.value,
    data_dir=_DATA_DIR.value,
    schemes=tuple(parse_bits(_BITS.value, _CLIP.value)),
    export_tflite=_TFLITE.value,
    batch_size=_BATCH_SIZE.value,
    clip_percentile=_CLIP.value,
    calibration_images=_CALIBRATION.value,
    num_images=_NUM_IMAGES.value,
  )
  print(json.dumps(ghn_predict.run(settings), indent=2))


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
