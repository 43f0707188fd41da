"""qinit: where should training start when the network will be quantised?

Subpackages load on first use: `import qinit; qinit.keras.build(spec)`.
"""

import importlib
import importlib.util
import os

from qinit.quiet import mute_tensorflow, silenced

__version__ = "0.1.0"

_SUBPACKAGES = (
  "archs",
  "data",
  "export",
  "functional",
  "ghn",
  "graph",
  "keras",
  "lpgnas",
  "params",
  "quant",
  "report",
  "stats",
  "study",
)

# TFMOT and the exporters need Keras 2. This makes tf.keras Keras 2 as well,
# wherever qinit is imported before TensorFlow.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
if importlib.util.find_spec("tf_keras") is None:
  raise ImportError(
    "qinit works with Keras 2, not with Keras 3: pip install tf_keras"
  )


def load_tensorflow() -> None:
  """Imports TensorFlow without the lines that it writes to stderr before it
  can be told not to, and without its warnings later on (of retracing, say).
  Of a GPU it then takes the memory that it needs, not all at once, so that the
  processes of a grid can share it."""
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
  with silenced():
    importlib.import_module("tensorflow")
  mute_tensorflow()


def __getattr__(name):
  if name in _SUBPACKAGES:
    return importlib.import_module(f"{__name__}.{name}")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
