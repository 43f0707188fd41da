"""Rebuilds tables, figures and reports from rows alone.

  python -m experiments.report --run=DIR
    DIR/results.csv, DIR/figures, DIR/report.html, DIR/cells/*/figures

  python -m experiments.report --run=DIR --publish=results
    copies the run's rows, settings and layer statistics to results/KIND

  python -m experiments.report --results=results
    RESULTS.md and results/figures from the committed rows; with
    --readme=README.md its excerpt too, with --cards=qinit/ghn/published the
    evaluations in the model cards

Seconds for a single cell, about a minute for a whole grid.
"""

import sys

from absl import flags

from experiments import app
from qinit.errors import QinitError
from qinit.report import publish, run

FLAGS = flags.FLAGS
flags.DEFINE_string("run", None, "Run folder of a study.")
flags.DEFINE_string("results", None, "Folder of committed rows, KIND/*.jsonl.")
flags.DEFINE_string(
  "publish", None, "Folder of committed rows to which --run is copied."
)
flags.DEFINE_string("output", "RESULTS.md", "File to write with --results.")
flags.DEFINE_string(
  "readme",
  None,
  "File whose part between <!-- results --> and <!-- /results --> is renewed"
  " with --results.",
)
flags.DEFINE_string(
  "cards",
  None,
  "Folder of NAME/MODEL_CARD.md of hypernetworks, whose parts between the same"
  " marks are renewed with --results.",
)


def main(argv):
  del argv
  if bool(FLAGS.run) == bool(FLAGS.results):
    raise QinitError("give either --run=DIR or --results=DIR")
  if FLAGS.publish:
    complaints = publish.publish(_run_folder(), FLAGS.publish)
    written = FLAGS.publish
  elif FLAGS.run:
    complaints, written = run.rebuild(FLAGS.run), f"{FLAGS.run}/report.html"
  else:
    complaints = run.results(
      FLAGS.results, FLAGS.output, FLAGS.readme, FLAGS.cards
    )
    written = FLAGS.output
  for complaint in complaints:
    print(complaint, file=sys.stderr)
  print(written)


def _run_folder():
  if not FLAGS.run:
    raise QinitError("--publish needs the run to publish: --run=DIR")
  return FLAGS.run


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
