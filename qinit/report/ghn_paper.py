"""The paper's accuracies of predicted networks (Tables 3 to 5)."""

from qinit.report.document import MISSING, Table
from qinit.report.ghn_cells import SPLITS, width_label, width_name

# Top-1 accuracies, mean; maximum, by split in the order of SPLITS: of GHN-Q
# (Table 3), and of GHN-QAT at the width that it was trained for (Table 4).
_GHN_Q: dict[str, tuple[str, ...]] = {
  "float": ("71.1; 80.2", "68.1; 79.8", "69.8; 79.0", "37.8; 56.1"),
  "w8a8": ("70.9; 80.1", "67.9; 79.5", "69.6; 78.6", "37.5; 56.4"),
  "w4a8": ("47.4; 63.9", "39.0; 62.9", "43.8; 63.3", "25.7; 43.7"),
  "w4a4": ("37.2; 52.6", "30.7; 50.2", "34.7; 50.7", "21.5; 36.7"),
  "w2a2": ("11.2; 18.8", "10.4; 13.0", "11.4; 17.7", "11.5; 18.1"),
}
_GHN_QAT: dict[str, tuple[str, ...]] = {
  "w8a8": ("71.2; 80.9", "68.0; 79.7", "69.9; 79.6", "36.9; 55.1"),
  "w4a8": ("60.2; 75.3", "56.5; 72.5", "58.1; 73.5", "30.7; 49.2"),
  "w4a4": ("52.5; 65.7", "50.3; 63.7", "50.6; 64.1", "24.8; 37.2"),
  "w2a2": ("26.3; 37.4", "23.1; 34.0", "24.6; 35.6", "10.6; 13.7"),
}
# Table 5, hypernetworks for BN-free networks on these: (width, range), each as
# mean and maximum. W4/A4 was tested with percentile ranges (Section 4.5.1).
_BN_FREE = {
  ("float", "absolute"): "65.7; 72.9",
  ("w8a8", "absolute"): "64.5; 71.3",
  ("w4a8", "percentile"): "58.0; 65.8",
  ("w4a8", "absolute"): "50.2; 60.9",
  ("w4a4", "percentile"): "49.3; 62.0",
}


def paper_table() -> Table:
  """The paper's top-1 accuracies, mean; maximum."""
  rows = [("GHN-Q (Table 3)", width_name(b), *row) for b, row in _GHN_Q.items()]
  rows += [
    ("GHN-QAT (Table 4)", width_name(b), *row) for b, row in _GHN_QAT.items()
  ]
  rows += [
    (
      "GHN-QAT, BN-free (Table 5)",
      width_label(*key),
      *[MISSING] * 3,
      accuracies,
    )
    for key, accuracies in _BN_FREE.items()
  ]
  return Table(
    ("Hypernetwork", "Width", *SPLITS.values()), tuple(rows), text_columns=2
  )
