"""What every command shares: how it starts and how it ends."""

import os
import platform
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

from absl import app, flags, logging

from qinit import load_tensorflow as load_tensorflow
from qinit.errors import QinitError
from qinit.quiet import mute_tensorflow

_NO_SPACE = ("No space left on device", "Disk quota exceeded")
# A path that a flag names is another thing than it should be.
_NO_PLACE = (
  FileExistsError,
  IsADirectoryError,
  NotADirectoryError,
  PermissionError,
)


def run(main) -> None:
  """Runs `main(argv)`: exit code 0 when done, 2 for bad input with one
  sentence on stderr, 1 for a failure that is ours."""
  _describe(main)
  app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)


def use_onednn() -> None:
  """Before TensorFlow is loaded, which leaves oneDNN off on x86 processors
  without AVX512: there a hypernetwork's training step takes 1.5 times as long.
  Only where all 1x1 convolutions are products: others got wrong gradients there
  (see BUILD.md)."""
  if platform.machine().lower() in ("x86_64", "amd64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def share_cores(lanes: int) -> None:
  """Before TensorFlow is loaded: an operation gets its share of the cores where
  so many run beside each other."""
  threads = max(1, (os.cpu_count() or 1) // lanes)
  os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))


def quiet() -> bool:
  """True with --verbosity=-1 or less."""
  return flags.FLAGS.verbosity <= logging.WARNING


def _describe(main):
  """Makes --help that of the command, all its flags included, where absl takes
  those of the file that was started: under `qinit-COMMAND` there are none."""
  sys.modules["__main__"].__doc__ = sys.modules[main.__module__].__doc__
  for module, own in flags.FLAGS.flags_by_module_dict().items():
    if module.startswith("experiments."):
      for flag in own:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _parse(argv):
  try:
    return flags.FLAGS(argv)
  except SystemExit:  # absl ends --help with 1
    sys.exit(0)
  except flags.Error as error:
    _refuse(" ".join(str(error).split()))


def _guarded(main, argv):
  # TensorFlow logs its savers' timings and retracings amid our progress.
  logging.get_absl_logger().setLevel("ERROR")
  mute_tensorflow()
  warnings.filterwarnings("ignore", "Warning: Enabling `experimental_preserve")
  try:
    if len(argv) > 1:
      raise QinitError(f"{argv[1]!r} is not a flag: flags begin with --")
    main(argv)
  except QinitError as error:
    _refuse(str(error))
  except _NO_PLACE as error:
    path = error.filename or "a file"
    _refuse(f"cannot use {path} ({error.strerror}): choose another path")
  except Exception as error:
    # Python, TensorFlow and NumPy each have their own class for it.
    if not any(words in str(error) for words in _NO_SPACE):
      raise
    _refuse("the disk is full: free some space and run the command again")


def _refuse(sentence):
  print(sentence, file=sys.stderr)
  sys.exit(2)
