"""The flags that every study of trained networks has."""

from typing import Any

from absl import flags

from qinit.errors import one_of

PRESETS: dict[str, dict[str, Any]] = {
  # Section 3.1 of the paper.
  "paper": dict(dataset="cifar10", epochs=200, width=1.0, batch_size=128),
  # Sized for minutes a cell on two CPU cores.
  "reduced": dict(dataset="cifar10", epochs=8, width=0.25, batch_size=128),
  # Under a minute, on images that need no download.
  "quick": dict(dataset="digits", epochs=12, width=0.25, batch_size=16),
}

PRESET = flags.DEFINE_string(
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
  "Percent of activations clipped on either side after training in float.",
  lower_bound=0.0,
  upper_bound=49.9,
)
_CALIBRATION = flags.DEFINE_integer(
  "calibration_images",
  1024,
  "Training images that set the ranges of activations.",
  lower_bound=1,
)


def settings() -> dict[str, Any]:
  """The preset with what the flags change of it; raises QinitError."""
  preset = PRESETS[one_of("preset", PRESET.value, PRESETS)]
  explicit: dict[str, Any] = dict(
    dataset=_DATASET.value,
    epochs=_EPOCHS.value,
    width=_WIDTH.value,
    batch_size=_BATCH_SIZE.value,
  )
  chosen = {k: preset[k] if v is None else v for k, v in explicit.items()}
  one_of("data set", chosen["dataset"], ("cifar10", "digits"))
  return chosen | dict(
    data_dir=_DATA_DIR.value,
    clip_percentile=_CLIP.value,
    calibration_images=_CALIBRATION.value,
  )
