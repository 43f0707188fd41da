"""Measures speed and memory as ratios, against goals.

  python -m experiments.bench --suite=init_study

Every figure is the median of several runs in one process, or of the ratios of
runs that took turns, so that it holds on a busy machine too.
"""

import importlib

from absl import flags

from experiments import app
from qinit.errors import one_of

SUITES = {
  "dataset": "experiments.bench_dataset",
  "ghn": "experiments.bench_ghn",
  "ghn_train": "experiments.bench_ghn_train",
  "init_study": "experiments.bench_init_study",
  "lpgnas": "experiments.bench_lpgnas",
  "qat": "experiments.bench_qat",
}

_SUITE = flags.DEFINE_string(
  "suite", "init_study", f"Which: {', '.join(SUITES)}."
)


def main(argv):
  del argv
  suite = SUITES[one_of("suite", _SUITE.value, SUITES)]
  if _SUITE.value == "ghn_train":  # as the commands that it measures
    app.use_onednn()
    app.share_cores(2)
  app.load_tensorflow()
  for name, value, goal in importlib.import_module(suite).run():
    print(f"{name}: {value} (goal: {goal})", flush=True)


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
