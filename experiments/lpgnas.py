"""Searches a graph neural network and the precision of each of its parts
together, after LPGNAS, and compares it with baselines.

  python -m experiments.lpgnas
  python -m experiments.lpgnas --dataset=cora --beta=0.02,0.1,0.5 --seeds=0,1,2
  python -m experiments.lpgnas --dataset=cora --methods=all --seeds=0,1,2
  python -m experiments.lpgnas --ghn=ghn2.pt --beta=0.01,0.1,1 --networks=500

The default, Zachary's karate club, needs no data and takes half a minute; a
search on Cora takes less than five on two cores. Finished cells are skipped
when the command is run again; interrupted ones go on at their last checkpoint.

With --ghn the graph network is that of a hypernetwork: its weights and what it
stores get the fewest bits in which the networks that it predicts for CIFAR-10
keep their accuracy.
"""

import math

from absl import flags

from experiments import app, axes, lpgnas_ghn
from experiments.engines import carry_out
from experiments.progress import ProgressLine
from qinit.errors import QinitError

_DATASET = flags.DEFINE_string(
  "dataset",
  "karate",
  "karate (no files), cora, citeseer, amazon_photo, amazon_computers,"
  " coauthor_cs, coauthor_physics, cora_ml, dblp, pubmed, cora_full, flickr or"
  " yelp.",
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir",
  None,
  "Folder of npz files; QINIT_GRAPHS_DIR by default. With --ghn the TFDS data"
  " folder of the images; TFDS' own by default.",
)
_SPLIT = flags.DEFINE_string(
  "split", "random602020", "random602020 or planetoid."
)
_METHODS = flags.DEFINE_string(
  "methods",
  "lpgnas",
  "Comma list of lpgnas, random_search, w4a8_search, float_gcn, w4a8_fixed_gcn"
  " and so on, or all, or baselines for all but lpgnas.",
)
_BETA = flags.DEFINE_string(
  "beta", "0.1", "Comma list of weights of the size's cost, 0 or more."
)
_SEEDS = flags.DEFINE_string("seeds", "0", "Comma list of seeds, 0 or more.")
_BLOCKS = flags.DEFINE_integer(
  "blocks", 2, "Graph blocks.", lower_bound=2, upper_bound=4
)
_FORMATS = flags.DEFINE_string(
  "formats",
  "scaled",
  "scaled: powers of two per tensor; fixed: bare fixed point, as published.",
)
_CONTROLLER = flags.DEFINE_string(
  "controller", "network", "network, or logits for one that sees nothing."
)
_SINGLE_LEVEL = flags.DEFINE_bool(
  "single_level", False, "Controllers learn from the training nodes too."
)
_SEARCH_EPOCHS = flags.DEFINE_integer(
  "search_epochs",
  None,
  "Epochs of the search; 300, on karate 60.",
  lower_bound=1,
)
_FINALISTS = flags.DEFINE_integer(
  "finalists",
  None,
  "Networks of a search that are trained briefly, of which the best on the"
  " validation nodes is taken; 1 for the likeliest. 6, on karate 1.",
  lower_bound=1,
)
_EPOCHS = flags.DEFINE_integer(
  "epochs",
  None,
  "Epochs of training from scratch; 300, on karate 60.",
  lower_bound=1,
)
_OUTPUT_DIR = flags.DEFINE_string(
  "output_dir",
  None,
  "Run folder; runs/lpgnas_DATASET, or runs/lpgnas_ghn, by default.",
)

# On the toy among the graphs a study is to be quick rather than good.
_QUICK = {"search_epochs": 60, "finalists": 1, "epochs": 60}


class Line(ProgressLine):
  """Epoch, loss, accuracy and what the search says of itself."""

  unit = "epoch"

  def __call__(self, progress) -> None:
    done = progress.epoch + 1
    note = f", {progress.note}" if progress.note else ""
    self._write(
      f"{self.title}: {self.unit} {done}/{progress.epochs}, loss"
      f" {progress.loss:.3f}, accuracy {progress.accuracy:.1f} %{note}",
      last=done % 50 == 0 or done == progress.epochs,
    )


class StepLine(Line):
  unit = "step"


def main(argv):
  del argv
  if lpgnas_ghn.wanted():
    carry_out(ghn_settings(), StepLine, lpgnas_ghn.summary)
  else:
    carry_out(settings(), Line, summary)


def summary(record) -> str:
  """One result in a line."""
  from qinit.study.lpgnas import cell_of

  cell, metrics = cell_of(record), record.metrics
  if record.status != "ok":
    return f"{cell}: {record.status}"
  text = (
    f"{cell}: test {metrics['test_accuracy']:.2f} %, model"
    f" {metrics['model_bits'] / 8e3:.1f} kB, buffers"
    f" {metrics['buffer_bits'] / 8:.0f} B a node"
  )
  if "integer_accuracy" in metrics:
    text += (
      f"; as integers {metrics['integer_accuracy']:.2f} %,"
      f" {metrics['integer_equal']:.2f} % of predictions equal"
    )
  return text


def settings():
  """The flags as an LpgnasStudy.

  Raises:
    QinitError: naming the flag's value that is wrong, and the right ones.
  """
  betas, seeds = _betas(_BETA.value), axes.seeds(_SEEDS.value)
  app.load_tensorflow()
  from qinit.study.lpgnas import METHODS, LpgnasStudy

  study = LpgnasStudy(
    dataset=_DATASET.value,
    split=_SPLIT.value,
    methods=_methods(_METHODS.value, METHODS),
    betas=betas,
    seeds=seeds,
    data_dir=_DATA_DIR.value,
    blocks=_BLOCKS.value,
    formats=_FORMATS.value,
    controller=_CONTROLLER.value,
    single_level=_SINGLE_LEVEL.value,
    **_lengths(),
    output_dir=_OUTPUT_DIR.value or f"runs/lpgnas_{_DATASET.value}",
  )
  study.graph()  # what is missing is told before anything is written
  return study


def ghn_settings():
  """The flags as an LpgnasGhn; raises QinitError as `settings` does."""
  return lpgnas_ghn.settings(
    lambda table: _methods(_METHODS.value, table),
    _DATA_DIR.value,
    _OUTPUT_DIR.value,
    betas=_betas(_BETA.value),
    seeds=axes.seeds(_SEEDS.value),
  )


def _lengths():
  """Those that are not the study's own: the graph's, and the flags'."""
  given = {
    "search_epochs": _SEARCH_EPOCHS.value,
    "finalists": _FINALISTS.value,
    "epochs": _EPOCHS.value,
  }
  given = {name: value for name, value in given.items() if value is not None}
  return (_QUICK if _DATASET.value == "karate" else {}) | given


def _methods(text, table):
  if text == "baselines":
    return tuple(table)[1:]
  return axes.names("method", text, table)


def _betas(text):
  """Distinct numbers of a comma list, 0 or more."""
  try:
    values = [float(part) for part in text.split(",")]
  except ValueError:
    values = [-1.0]
  if not all(0 <= value < math.inf for value in values):
    raise QinitError(
      f"{text!r} is no list for --beta: write numbers from 0, with commas"
    )
  return axes.unique(values)


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
