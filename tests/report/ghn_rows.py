"""Rows of hypernetworks, made by hand."""

import dataclasses

from qinit.record import Record
from qinit.report.sources import Study


def row(name, split, network, bits, accuracy, **more):
  cell = {
    "ghn": name,
    "split": split,
    "network": network,
    "bits": bits,
    "images": 512,
    "weight_clip": "absolute",
  }
  metrics = {
    "images": 512,
    "accuracy": accuracy,
    "top5": min(100.0, accuracy + 20),
    "accuracy_change": 0.0,
    "qmse": 0.1,
    "qce": 1.0,
  }
  return Record("ghn_eval", cell, "digest", metrics | more)


def clipped(rows):
  return [
    dataclasses.replace(one, cell=one.cell | {"weight_clip": "percentile"})
    for one in rows
  ]


LAYERS = [
  [f"cells.{i}/kernel", -1, -0.5, -0.1, 0, 0.1, 0.5, 1] for i in range(3)
]
ROWS = [
  row("q", "test", 0, "float", 70.0, layers=LAYERS),
  row("q", "test", 1, "float", 74.0),
  row("q", "test", 0, "w4a4", 30.0),
  row("q", "test", 1, "w4a4", 36.0),
  row("q", "deep", 0, "w4a4", 20.0),
  row("qat", "test", 0, "w4a4", 50.0),
  row("qat", "test", 1, "w4a4", 57.0),
]
CURVE = [[10, 2.0, 20.0], [20, 1.5, 40.0], [30, 1.2, 50.0]]
TRAINING = Record(
  "ghn_train",
  {
    "bits": "w4a4",
    "quantizer": "simquant",
    "weight_clip": "absolute",
    "split": "train",
    "init_ghn": "ghn_q",
    "meta_batch": 4,
    "batch_size": 32,
  },
  "digest",
  {"curve": CURVE, "steps": 30, "loss": 1.2, "accuracy": 50.0, "skipped": 0},
)


def study(*records):
  return Study(records, {}, {}, {})
