"""The trainings of hypernetworks in a table, and how to read it."""

from collections.abc import Sequence

from qinit.record import Record
from qinit.report import ghn_figures
from qinit.report.document import Table, number
from qinit.report.sources import place

_IMAGES = 50_000  # CIFAR-10's for training, an epoch
_PAPER_EPOCHS = 100  # Section 4.2 of Starting Positions Matter

INTRODUCTION = (
  "GHN-Q is trained in float, GHN-QAT through simulated quantisation; loss and"
  " accuracy are those of training, over the last tenth of the steps."
  " Hardware, workers and threads are those at the end of a training: a part of"
  " its steps may have run on others. Minutes are those of all its steps."
)
OSCILLATION = (
  "Oscillating is the share of predicted weights, in percent, whose codes jump"
  " to and fro at the end of the training (after Nagel et al., 2022). The codes"
  " of some 20,000 weights of one training network are looked at every 10"
  " steps, at the training's narrowest width, without BatchNorm folded in; here"
  " in absolute ranges even where the training clips or learns them. A moving"
  " average (momentum 0.01) tells how often a code changes against its last"
  " change; above 0.005 the weight oscillates. One such turn in the last 69"
  " looks is enough. So short trainings, of few looks, cannot be compared with"
  " long ones, and of the fine codes of W8/A8 nearly all turn."
)


def table(records: Sequence[Record]) -> Table:
  """A row for each training."""
  return Table(
    (
      "Training",
      "Steps",
      "Meta-batch",
      "Loss",
      "Accuracy",
      "Skipped",
      "Oscillating",
      "Minutes",
      "Hardware",
    ),
    tuple(_row(r) for r in records),
  )


def beside_the_paper(records: Sequence[Record]) -> str:
  """The paper's training (Sections 4.2, 4.4.2) and the longest of ours."""
  longest = max(records, key=lambda r: r.metrics["steps"])
  steps = _PAPER_EPOCHS * _IMAGES // longest.cell["batch_size"]
  hours = longest.env.get("seconds", 0) / 3600
  return (
    f"The paper trains each hypernetwork for {_PAPER_EPOCHS} epochs, which are"
    f" {steps:,} steps at our batch size, in about 4 days on an Nvidia RTX 2080"
    f" Ti. The longest training here is {ghn_figures.training_name(longest)}:"
    f" {longest.metrics['steps']:,} steps in {number(hours, 1)} hours on"
    f" {_place(longest)}."
  )


def _row(record):
  metrics = record.metrics
  return (
    ghn_figures.training_name(record),
    str(metrics["steps"]),
    str(record.cell["meta_batch"]),
    number(metrics["loss"], 3),
    number(metrics["accuracy"], 1),
    str(metrics["skipped"]),
    number(metrics.get("oscillating"), 1),
    number(record.env.get("seconds", 0) / 60, 1),
    _place(record),
  )


def _place(record):
  return place(record.env, record.metrics.get("workers", 1))
