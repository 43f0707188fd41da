"""`experiments.lpgnas --ghn`: the precision of a hypernetwork itself."""

from absl import flags

from experiments import app
from qinit.errors import QinitError

_GHN = flags.DEFINE_string(
  "ghn",
  None,
  "Searches the precision of this hypernetwork instead: a .pt file, a folder,"
  " or the name of a published one.",
)
_SEARCH_STEPS = flags.DEFINE_integer(
  "search_steps", 300, "With --ghn: steps of the search.", lower_bound=1
)
_TUNE_STEPS = flags.DEFINE_integer(
  "tune_steps",
  300,
  "With --ghn: steps of training at the derived precision.",
  lower_bound=1,
)
_NETWORKS_DIR = flags.DEFINE_string(
  "networks_dir",
  None,
  "With --ghn: TFDS data folder of ConvNets-250K; TFDS' own.",
)
_NETWORKS = flags.DEFINE_integer(
  "networks",
  0,
  "With --ghn: networks of each split, sampled now; 0 reads ConvNets-250K.",
  lower_bound=0,
)
_TEST_NETWORKS = flags.DEFINE_integer(
  "test_networks",
  32,
  "With --ghn: unseen networks that are evaluated.",
  lower_bound=1,
)
_IMAGES = flags.DEFINE_integer(
  "images",
  2_048,
  "With --ghn: test images.",
  lower_bound=1,
  upper_bound=10_000,
)


def wanted() -> bool:
  return _GHN.value is not None


def settings(methods, data_dir, output_dir, **axes):
  """The flags as an LpgnasGhn.

  Args:
    methods: turns a table of methods into those that are asked for.
    data_dir: of the images.
    axes: betas and seeds.

  Raises:
    QinitError: naming the flag's value that is wrong, and the right ones.
  """
  if flags.FLAGS["dataset"].present:
    raise QinitError(
      "--dataset names a graph, --ghn a hypernetwork: give one of them"
    )
  app.load_tensorflow()
  from qinit.study import ghn_eval
  from qinit.study.lpgnas_ghn import METHODS, LpgnasGhn

  study = LpgnasGhn(
    ghn=_GHN.value,
    methods=methods(METHODS),
    search_steps=_SEARCH_STEPS.value,
    tune_steps=_TUNE_STEPS.value,
    networks=_NETWORKS.value,
    test_networks=_TEST_NETWORKS.value,
    images=_IMAGES.value,
    data_dir=data_dir,
    networks_dir=_NETWORKS_DIR.value,
    output_dir=output_dir or "runs/lpgnas_ghn",
    **axes,
  )
  ghn_eval.load(study.evaluation)  # before there is a run folder
  return study


def summary(record) -> str:
  """One result in a line."""
  from qinit.study.lpgnas import cell_of

  cell, metrics = cell_of(record), record.metrics
  if record.status != "ok":
    return f"{cell}: {record.status}"
  return (
    f"{cell}: {metrics['accuracy']:.2f} % on"
    f" {len(metrics['accuracies'])} unseen networks, model"
    f" {metrics['model_bits'] / 8e3:.1f} kB"
  )
