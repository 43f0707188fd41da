"""The paper's accuracies of predicted networks (Tables 3 to 5)."""

from qinit.report.document import MISSING, Table
from qinit.report.ghn_cells import SPLITS, width_label, width_name

# Mean, standard error of the mean and maximum in percent, by metric, by width,
# for each split in the order of SPLITS: of GHN-Q (Table 3), and of GHN-QAT at
# the width that it was trained for (Table 4).
_GHN_Q: dict[str, dict[str, str]] = {
  "accuracy": {
    "float": "71.1 0.3 80.2  68.1 0.7 79.8  69.8 0.5 79.0  37.8 1.3 56.1",
    "w8a8": "70.9 0.3 80.1  67.9 0.7 79.5  69.6 0.5 78.6  37.5 1.3 56.4",
    "w4a8": "47.4 0.4 63.9  39.0 0.7 62.9  43.8 0.6 63.3  25.7 0.9 43.7",
    "w4a4": "37.2 0.3 52.6  30.7 0.5 50.2  34.7 0.5 50.7  21.5 0.8 36.7",
    "w2a2": "11.2 0.1 18.8  10.4 0.0 13.0  11.4 0.1 17.7  11.5 0.2 18.1",
  },
  "top5": {
    "float": "97.3 0.1 99.0  96.4 0.2 98.8  97.2 0.1 98.7  84.3 1.2 94.8",
    "w8a8": "97.3 0.1 98.9  96.4 0.2 98.8  97.2 0.1 98.7  84.1 1.2 94.9",
    "w4a8": "89.8 0.2 95.9  85.2 0.4 95.8  88.0 0.3 95.5  74.6 1.2 89.8",
    "w4a4": "83.7 0.2 91.7  78.6 0.4 91.0  82.1 0.3 91.4  69.3 1.1 87.0",
    "w2a2": "52.4 0.1 63.8  50.9 0.1 56.6  52.7 0.2 69.6  53.4 0.4 68.9",
  },
}
_GHN_QAT: dict[str, dict[str, str]] = {
  "accuracy": {
    "w8a8": "71.2 0.4 80.9  68.0 0.7 79.7  69.9 0.6 79.6  36.9 1.4 55.1",
    "w4a8": "60.2 0.4 75.3  56.5 0.7 72.5  58.1 0.7 73.5  30.7 1.0 49.2",
    "w4a4": "52.5 0.4 65.7  50.3 0.6 63.7  50.6 0.6 64.1  24.8 0.7 37.2",
    "w2a2": "26.3 0.3 37.4  23.1 0.3 34.0  24.6 0.4 35.6  10.6 0.1 13.7",
  },
  "top5": {
    "w8a8": "97.4 0.1 99.0  96.4 0.2 98.8  97.1 0.2 98.8  84.2 1.2 95.2",
    "w4a8": "94.5 0.1 98.1  92.8 0.3 97.7  94.0 0.2 97.8  80.6 1.1 93.6",
    "w4a4": "91.9 0.1 96.1  90.5 0.3 95.9  91.3 0.2 95.7  76.5 0.9 89.2",
    "w2a2": "73.2 0.3 85.3  69.7 0.4 81.4  71.6 0.5 83.9  52.4 0.3 60.9",
  },
}
# Table 5, hypernetworks for BN-free networks on these, by (width, range). W4/A4
# was tested with percentile ranges (Section 4.5.1).
_BN_FREE = {
  "accuracy": {
    ("float", "absolute"): "65.7 0.8 72.9",
    ("w8a8", "absolute"): "64.5 0.7 71.3",
    ("w4a8", "percentile"): "58.0 0.8 65.8",
    ("w4a8", "absolute"): "50.2 1.0 60.9",
    ("w4a4", "percentile"): "49.3 0.9 62.0",
  },
  "top5": {
    ("float", "absolute"): "96.7 0.2 98.1",
    ("w8a8", "absolute"): "96.5 0.3 97.9",
    ("w4a8", "percentile"): "94.9 0.4 97.5",
    ("w4a8", "absolute"): "92.3 0.6 95.9",
    ("w4a4", "percentile"): "92.1 0.4 96.1",
  },
}


def paper_table(metric: str) -> Table:
  """The paper's accuracies as ours stand in `ghn_tables.accuracy_table`; the
  metric is "accuracy" (top-1) or "top5"."""
  rows = [
    (name, width_name(bits), *_cells(numbers))
    for name, table in (
      ("GHN-Q (Table 3)", _GHN_Q),
      ("GHN-QAT (Table 4)", _GHN_QAT),
    )
    for bits, numbers in table[metric].items()
  ]
  rows += [
    (
      "GHN-QAT, BN-free (Table 5)",
      width_label(*key),
      *[MISSING] * 3,
      *_cells(numbers),
    )
    for key, numbers in _BN_FREE[metric].items()
  ]
  return Table(
    ("Hypernetwork", "Width", *SPLITS.values()), tuple(rows), text_columns=2
  )


def _cells(numbers):
  """ "71.1 ± 0.3; 80.2" for every three."""
  found = iter(numbers.split())
  return [
    f"{mean} ± {error}; {best}"
    for mean, error, best in zip(found, found, found, strict=True)
  ]
