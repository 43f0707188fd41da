"""The sections on hypernetworks: their training and their evaluation."""

from qinit.report import (
  ghn_cells,
  ghn_figures,
  ghn_goal,
  ghn_noise,
  ghn_paper,
  ghn_remedies,
  ghn_tables,
  ghn_trainings,
  ghn_widths,
)
from qinit.report.document import (
  Block,
  Bullets,
  Figure,
  Heading,
  Paragraph,
)
from qinit.report.sources import Study, places

# What some had in training beyond their control.
_MORE = {
  "ghn-qat-percentile-w2a2": (
    "went on from ghn-qat-w2a2, which had as many steps as the control, for"
    " half as many more"
  ),
  "bnfree-percentile-w4a4": (
    "saw four times as many networks in as many steps"
  ),
}
_CHOICES = (
  "Ranges of activations and of weights are those of the batch of 64 test"
  " images at hand, as BatchNorm's statistics are. A tensor that a concat and"
  " others read is rounded with its own range, and again in the concat.",
  "NoiseQuant trains with noise; accuracies are with rounding unless the width"
  " says noise.",
  "Weight ranges are absolute, or clipped at 1 % on either side where the row"
  " says percentile; activations are never clipped.",
  "Chance is 10 %. Of the first 1,024 test images the most frequent class makes"
  " 11.6 %, which a network that says nothing else reaches: differences from"
  " chance are counted from there.",
  "The standard error of a mean is the population's standard deviation over"
  " networks, over the square root of their number, as in the reference; those"
  " of differences and their multiples take the sample's (n - 1).",
)


def training(study: Study) -> list[Block]:
  """The trainings: a table and the learning curves."""
  return [
    Heading("Training of hypernetworks"),
    Paragraph(ghn_trainings.INTRODUCTION),
    Paragraph(ghn_trainings.OSCILLATION),
    Paragraph(ghn_trainings.beside_the_paper(study.records)),
    ghn_trainings.table(study.records),
    Figure(
      "ghn_train_curves",
      "Loss and accuracy in training, on the networks and at the width of each"
      " training; medians of five neighbouring points, dashed in float. The"
      " trainings of less than a tenth of the longest's steps are left out.",
      lambda: ghn_figures.learning_curves(study.records),
    ),
  ]


def evaluation(study: Study) -> list[Block]:
  """Tables 3 to 5, what quantisation changes, and figures."""
  records, with_remedies = ghn_remedies.apart(study.records)
  return [
    *_accuracies(records),
    *_figures(records),
    *_own_widths(records),
    *ghn_widths.section(records),
    *ghn_noise.section(records),
    Heading("What quantisation changes, network by network", 3),
    Paragraph(
      "Means ± standard errors over networks; of QMSE and QCE the medians too,"
      " for a single network whose logits explode may make the mean."
    ),
    ghn_tables.change_table(records),
    Heading("Paired differences between hypernetworks", 3),
    ghn_tables.paired_table(records),
    *ghn_remedies.section(with_remedies),
    Heading("Choices", 3),
    Bullets(_CHOICES),
  ]


def _accuracies(records):
  """Tables 3 to 5, beside the paper's."""
  yield Heading("Evaluation of hypernetworks on unseen networks")
  yield Paragraph(
    "Top-1 accuracy on CIFAR-10 in percent: mean ± standard error; maximum,"
    f" over networks that no training has seen. {ghn_tables.extent(records)}"
    f" Hardware: {places(records) or 'unknown'}."
  )
  if lost := ghn_tables.left_out(records):
    yield Paragraph(lost)
  yield ghn_tables.accuracy_table(records, "accuracy")
  yield Paragraph("Top-5 accuracy.")
  yield ghn_tables.accuracy_table(records, "top5")
  yield Paragraph(
    "The paper's top-1 accuracies (mean ± standard error; maximum), beside"
    " ours. Its hypernetworks were trained for far longer: see above."
  )
  yield ghn_paper.paper_table("accuracy")
  yield Paragraph("The paper's top-5 accuracies.")
  yield ghn_paper.paper_table("top5")


def _figures(records):
  yield Figure(
    "ghn_eval_accuracy",
    "Accuracy by width and split; bars are standard errors, the dotted line"
    " is chance (what one answer for all of the panel's images reaches). Open"
    " marks and dashed lines: weights clipped at percentiles.",
    lambda: ghn_figures.accuracy_by_width(records),
  )
  for ghn in dict.fromkeys(r.cell["ghn"] for r in records):
    yield _scatter(records, ghn)
  yield from _distributions(records)


def _own_widths(records):
  table = ghn_tables.own_width_table(records)
  if not table.rows:
    return []
  return [
    Heading("At the width that each was trained for", 3),
    *_answer(ghn_tables.answer_table(records)),
    *_goal(records),
    Paragraph(
      "Differences in points of accuracy, over networks ± their standard error,"
      " and in brackets by how many standard errors."
    ),
    table,
  ]


def _answer(table):
  if table.rows:
    yield Paragraph(
      "Do hypernetworks trained through quantisation predict better networks"
      " for it than one trained in float for as many steps (a control)?"
      f"{_more_training(table)} On unseen networks, top-1 accuracy in percent"
      " and its difference in points ± standard error:",
      headline=True,
    )
    yield table


def _more_training(table):
  """Those of the table whose control had less training."""
  names = {row[0] for row in table.rows}
  parts = [f"{name} {how}" for name, how in _MORE.items() if name in names]
  if not parts:
    return ""
  return f" Some had more training than that: {'; '.join(parts)}."


def _goal(records):
  if told := ghn_goal.sentences(records):
    yield Paragraph(told)


def _scatter(records, ghn):
  return Figure(
    f"ghn_eval_{ghn}_quantised_against_float",
    f"{ghn}: each point is a network; on the dashed line nothing was lost."
    f"{_crosses(records, ghn)}",
    lambda: ghn_figures.quantised_against_float(records, ghn),
  )


def _crosses(records, ghn):
  clips = {r.cell["weight_clip"] for r in records if r.cell["ghn"] == ghn}
  return " Crosses: weights clipped." if clips - {"absolute"} else ""


def _distributions(records):
  """One network of each split, of the first hypernetwork."""
  first = records[0].cell["ghn"]
  drawn = {}
  for record in records:
    cell = record.cell
    if cell["ghn"] == first and "layers" in record.metrics:
      drawn.setdefault(cell["split"], record.metrics["layers"])
  for split, layers in drawn.items():
    title = f"{first}, a network of the split {ghn_cells.SPLITS[split]}"
    yield Figure(
      f"ghn_eval_{first}_{split}_weights",
      f"{title}: distributions of its predicted kernels.",
      lambda layers=layers, title=title: ghn_figures.predicted_weights(
        layers, title
      ),
    )
