"""Remedies beside the training without them, from rows made by hand."""

from qinit.report import ghn, ghn_remedies
from qinit.report.document import to_markdown
from qinit.report.sources import Study
from tests.report.ghn_rows import clipped, row

ROWS = [
  row("other", "test", 0, "w2a2", 12.0),
  row("w2a2+absolute", "test", 0, "float", 20.0),
  row("w2a2+absolute", "test", 1, "float", 22.0),
  row("w2a2+absolute", "test", 0, "w2a2", 10.0, qmse=2e10),
  row("w2a2+absolute", "test", 1, "w2a2", 10.0, qmse=4e10),
  *clipped(
    [
      row("w2a2+percentile+damping", "test", 0, "float", 21.0),
      row("w2a2+percentile+damping", "test", 1, "float", 21.0),
      row("w2a2+percentile+damping", "test", 0, "w2a2", 14.0),
      row("w2a2+percentile+damping", "test", 1, "w2a2", 17.0),
    ]
  ),
]


def test_rows_with_remedies_stand_apart():
  others, remedies = ghn_remedies.apart(ROWS)
  assert others == ROWS[:1]
  assert remedies == ROWS[1:]


def test_each_is_set_beside_the_plain_training_whatever_its_range():
  plain, damped = ghn_remedies.table(ROWS[1:]).rows
  # Float 20, 22 to 10, 10: -10, -12. QMSE 2, 4: deviation 1, over sqrt(2).
  assert plain == (
    "w2a2",
    "absolute",
    "Test (ID)",
    "W2/A2",
    "2",
    "10.0 ± 0.0",
    "–",
    "–",
    "-11.00 ± 1.00 (-11.0)",
    "3.0e+10 ± 7.1e+09; 3.0e+10",
  )
  # 14, 17: mean 15.5, population deviation 1.5 over sqrt(2). +4, +7. -7, -4.
  assert damped[1] == "percentile, damping"
  assert damped[5:9] == (
    "15.5 ± 1.1",
    "–",
    "+5.50 ± 1.50 (3.7)",
    "-5.50 ± 1.50 (-3.7)",
  )


def test_the_report_keeps_them_out_of_its_other_tables():
  text = to_markdown(ghn.evaluation(Study(tuple(ROWS), {}, {}, {}, ())))
  before, after = text.split("### Remedies at low widths")
  assert "+damping" not in before and "w2a2+" not in before
  assert "Networks and test images: Test (ID) 2 on 512." in after


def test_one_answer_for_all_images_is_no_gain():
  # 119 of the first 1,024 images are of one class: 11.6211 %.
  accuracies = {
    "absolute": (11.0, 10.0, 9.0),
    "damping": [100 * 119 / 1024] * 3,
  }
  rows = [
    row(f"w2a2+{name}", "test", n, "w2a2", accuracy, images=1_024)
    for name, found in accuracies.items()
    for n, accuracy in enumerate(found)
  ]
  rows[-1].metrics["accuracy"] = 14.62
  plain, damped = ghn_remedies.table(rows).rows
  # -0.62, -1.62, -2.62: deviation 1, over sqrt(3).
  assert plain[6] == "-1.62 ± 0.58 (-2.8)"
  # 0.0011, 0.0011, 3: mean 1.0007, deviation 1.7314, over sqrt(3).
  assert damped[6] == "+1.00 ± 1.00 (1.0)"
  _, text, _ = ghn_remedies.section(rows)
  assert "2 of the 3 networks of w2a2 damping have exactly" in text.text
  assert "w2a2 absolute have" not in text.text


def test_without_such_rows_there_is_no_section():
  assert ghn_remedies.section([]) == []
