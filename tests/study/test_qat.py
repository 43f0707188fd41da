"""The study of starts and methods: rows, curves, resuming, bad input."""

import csv
import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from qinit import record
from qinit.archs.load import load as load_arch
from qinit.data import catalogue
from qinit.errors import CheckpointError, QinitError
from qinit.grid import run as grid
from qinit.grid.task import Watcher
from qinit.params import store
from qinit.quant.scheme import Scheme
from qinit.report import qat as report
from qinit.report import sources
from qinit.report.qat_race import race
from qinit.report.qat_rows import steps_to
from qinit.study.qat import QatStudy
from qinit.study.starts import Start, for_unit_images
from tests.study.test_ghn_predict import NET, seeing_widths


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """One cell trained in float, then for quantisation, and its row."""
  study = QatStudy(
    archs=("regular_conv_bn",),
    starts=("glorot_uniform",),
    methods=("float_qat",),
    bits=("w8a8",),
    dataset="digits",
    epochs=8,  # after three in float it is at chance on some processors
    batch_size=16,
    width=0.25,
    calibration_images=200,
    output_dir=str(tmp_path_factory.mktemp("qat") / "run"),
  )
  (row,) = grid.run(study)
  return study, row


def test_a_row_is_verified_in_the_runtime(finished):
  study, row = finished
  m = row.metrics
  assert row.status == "ok" and row.kind == "qat"
  assert row.cell["start"] == "glorot_uniform"
  assert row.cell["method"] == "float_qat"
  assert m["litert_equal_codes"] >= 99.9
  # Float sums tie where integers do not, and a flipped code moves those behind
  # it: one layer agrees, the last of a trained network on 95 to 100 %.
  with (study.folder(study.cells()[0]) / "parity.csv").open() as file:
    layers = list(csv.DictReader(file))
  assert float(layers[0]["fake_quant_equal_percent"]) >= 99.99
  assert max(int(r["fake_quant_max_difference"]) for r in layers) <= 3
  assert m["graph_equal_codes"] >= 95.0
  assert m["quint8_accuracy"] > 30 and m["output_codes"] > 32
  assert m["steps"] == 8 * (1438 // 16)
  assert 0 <= m["oscillating"] <= 100


def test_the_curves_of_both_stages_meet(finished):
  _, row = finished
  in_float, quantised = (
    [step for step, _ in row.metrics[kind]] for kind in ("float_curve", "curve")
  )
  per_epoch = 1438 // 16
  assert in_float == sorted(in_float) and quantised == sorted(quantised)
  assert in_float[-1] == quantised[0] == 4 * per_epoch
  assert quantised[-1] == 8 * per_epoch


def test_the_log_has_every_layer_and_epoch(finished):
  study, _ = finished
  folder = study.folder(study.cells()[0])
  lines = (folder / "oscillations.csv").read_text().splitlines()
  assert lines[0] == "epoch,layer,oscillating_percent,frozen_percent"
  cells = [line.split(",")[:2] for line in lines[1:]]
  assert {epoch for epoch, _ in cells} == {"1", "2", "3", "4"}
  assert ["1", "stem"] in cells and ["4", "logits"] in cells


def test_a_second_run_makes_nothing_again_and_ptq_takes_the_weights(finished):
  study, row = finished

  class Counter(Watcher):
    reports = 0

    def __call__(self, progress):
      self.reports += 1

  counter = Counter()
  assert list(grid.run(study, counter)) == [row] and counter.reports == 0
  folder = study.float_folder(study.cells()[0], 4)
  cell = dataclasses.replace(study.cells()[0], method="ptq")
  place = f"checkpoint:{folder}"
  data = catalogue.load("digits")
  params = Start.parse(place).params(study.spec(cell), data, 0)
  assert params["stem/kernel"].std() > 0


def test_rows_become_a_section(finished):
  study, row = finished
  section = report.section(
    sources.from_run(study.folder(study.cells()[0]).parent.parent)
  )
  table = next(b for b in section if hasattr(b, "rows"))
  assert table.rows[0][:5] == (
    "Regular_Conv_With_BN",
    "w8a8",
    "glorot_uniform",
    "float_qat",
    "simquant",
  )
  figure = next(b for b in section if hasattr(b, "draw"))
  assert figure.draw() is not None
  assert record.from_json(row.to_json()) == row


def test_tfmots_default_is_measured_beside(finished):
  study, ours = finished
  both = dataclasses.replace(study, quantizers=("simquant", "tfmot_default"))
  _, theirs = grid.run(both)
  m = theirs.metrics
  assert theirs.status == "ok" and theirs.cell["quantizer"] == "tfmot_default"
  # Its ranges begin at +-6 and fit nothing: chance.
  assert 8 < m["accuracy_before_qat"] < 12
  assert m["quint8_accuracy"] > 30
  assert m["steps"] == ours.metrics["steps"]
  table = report.beside_tfmot([ours, theirs], study.epochs)
  assert [row[3] for row in table.rows] == ["simquant", "tfmot_default"]
  for row, record_ in zip(table.rows, (ours, theirs), strict=True):
    curve = dict(map(tuple, record_.metrics["curve"]))
    assert row[6] == f"{curve[5 * (1438 // 16)]:.2f}"
    assert row[7] == f"{record_.metrics['quint8_accuracy']:.2f}"


class Interrupted(Exception):
  pass


class Interrupting(Watcher):
  """Ends the work in the second epoch of the second stage."""

  stages = 0

  def __call__(self, progress):
    self.stages += (progress.epoch, progress.step) == (1, 40)
    if self.stages == 2:
      raise Interrupted


@pytest.mark.long
@pytest.mark.parametrize(
  "quantizer, freeze_above", [("simquant", 0.1), ("noise", None)]
)
def test_an_interrupted_training_ends_in_the_same_row(
  quantizer, freeze_above, tmp_path
):
  study = QatStudy(
    archs=("regular_conv_bn",),
    starts=("glorot_uniform",),
    methods=("float_qat",),
    quantizers=(quantizer,),
    bits=("w8a8",),
    dataset="digits",
    epochs=8,  # as above
    batch_size=16,
    width=0.25,
    freeze_above=freeze_above,
    calibration_images=200,
    output_dir=str(tmp_path / "whole"),
  )
  (whole,) = grid.run(study)
  again = dataclasses.replace(study, output_dir=str(tmp_path / "parts"))
  with pytest.raises(Interrupted):
    list(grid.run(again, Interrupting()))
  (resumed,) = grid.run(again)
  assert whole.status == "ok"
  for row in (whole, resumed):
    assert row.metrics.pop("train_seconds") > 0
  assert resumed.metrics == whole.metrics


def test_tfmots_default_is_for_8_bits():
  with pytest.raises(QinitError, match="use --bits=w8a8"):
    QatStudy(quantizers=("tfmot_default",), bits=("w4a4",))


def test_starts_of_one_name_are_refused(tmp_path):
  for name in ("one", "other"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "ghn").touch()
  starts = tuple(f"ghn:{tmp_path}/{name}/ghn" for name in ("one", "other"))
  assert [Start.parse(s).label for s in starts] == ["ghn_one", "ghn_other"]
  QatStudy(starts=starts)
  for name in ("one", "other"):
    (tmp_path / name / "net.npz").touch()
  same = tuple(
    f"checkpoint:{tmp_path}/{name}/net.npz" for name in ("one", "other")
  )
  with pytest.raises(QinitError, match="two starts are called checkpoint_net"):
    QatStudy(starts=same)
  with pytest.raises(QinitError, match="two networks are called net"):
    QatStudy(archs=("a/net.json", "b/net.json"))


def test_steps_count_those_of_the_quantised_network():
  curves = {"float_curve": [[0, 10.0], [100, 60.0]], "curve": [[100, 20.0]]}
  cell = {"arch": "dws_conv_bn", "start": "he_uniform", "bits": "w4a4"}

  def steps(method, **metrics):
    one = record.Record("qat", cell | {"method": method}, "c0ffee", metrics)
    table = report.table([one])
    return dict(zip(table.headers, table.rows[0], strict=True))["Steps to 50 %"]

  assert steps("float_qat", **curves) == "– (1 never)"
  curves["curve"].append([300, 60.0])
  assert steps("float_qat", **curves) == "250"
  assert steps("ptq", float_curve=curves["float_curve"]) == "80 (float)"


def test_predicted_starts_are_held_against_random_ones():
  def row(start, step, accuracy):
    axes = {"arch": "dws_conv_bn", "bits": "w4a4", "start": start}
    cell = axes | {"method": "qat", "quantizer": "simquant"}
    curve = [[0, 10.0], [step, 50.0]]
    metrics = {"curve": curve, "quint8_accuracy": accuracy}
    return record.Record("qat", cell, "c0ffee", metrics)

  ours, he = row("ghn_ours", 100, 51.0), row("he_uniform", 400, 55.0)
  glorot = row("glorot_uniform", 80, 40.0)
  assert list(race([he])) == []
  assert list(race([ours])) == []
  # 20 % at a quarter of the way, 30 % at half of it.
  answer, *_, table = race([ours, he])
  assert table.rows[0][5:] == ("25 / 100", "50 / 200", "51.00 / 55.00")
  assert (
    "20 % of the images sooner in 1 of 1 trainings (75 %), on 30 % in 1 of 1"
    " (75 %), and in the end the more accurate one in 0 of 1" in answer.text
  )
  *_, table = race([ours, he, glorot])
  assert table.rows[0][5:] == ("25 / 20", "50 / 40", "51.00 / 55.00")
  late = dataclasses.replace(ours, metrics=he.metrics | {"curve": [[0, 21.0]]})
  answer, *_, table = race([ours, late, he])
  assert table.rows[0][5:] == ("12 / 100", "never / 200", "53.00 / 55.00")
  assert "on 30 % in 0 of 1" in answer.text
  ready = row("ghn_ready", 100, 51.0)
  ready.metrics["curve"][0][1] = 25.0
  *_, table = race([ready, he])
  assert table.rows[0][5] == "0 / 100"
  # A seed that diverged never was at a target.
  gone = dataclasses.replace(ours, status="diverged", metrics={"steps": 3})
  *_, table = race([ours, gone, he])
  assert table.rows[0][5:] == ("never / 100", "never / 200", "51.00 / 55.00")
  # Each predicted start has its own count.
  answer, *_, table = race([ours, ready, he, glorot])
  assert "ours was right on 20 % of the images sooner in 0 of 1" in (
    answer.text
  )
  assert "ready was right on 20 % of the images sooner in 1 of 1" in (
    answer.text
  )
  # Equalisation comes after the training that ptq has counted.
  again = [
    dataclasses.replace(r, cell=r.cell | {"method": "ptq_cle"})
    for r in (ours, he)
  ]
  assert len(list(race([ours, he, *again]))[-1].rows) == 1


def test_steps_to_an_accuracy():
  curve = [[0, 10.0], [100, 20.0], [200, 60.0]]
  assert steps_to(curve, 10.0) == 0
  assert steps_to(curve, 40.0) == 150
  assert steps_to(curve, 70.0) is None


def test_ptq_rows_have_one_quantizer():
  study = QatStudy(methods=("ptq", "qat"), quantizers=("lsq", "pact"))
  found = [(c.method, c.quantizer) for c in study.cells()]
  assert found == [("ptq", "rounding"), ("qat", "lsq"), ("qat", "pact")]


@pytest.mark.parametrize(
  "start, words",
  [
    ("he_unifrm", "he_uniform"),
    ("ghn:/nowhere.pt", "there is no /nowhere.pt"),
    ("weights:/x", "ghn"),
  ],
)
def test_unknown_starts_are_refused(start, words):
  with pytest.raises(QinitError, match=words):
    QatStudy(starts=(start,))


def test_a_published_hypernetwork_is_a_start_by_its_name():
  start = Start.parse("ghn:ghn2-cifar10-short")
  assert start.label == "ghn_ghn2-cifar10-short"
  with pytest.raises(QinitError, match="there is no ghn2-cifar10"):
    Start.parse("ghn:ghn2-cifar10")


def test_a_hypernetwork_that_sees_widths_starts_at_the_one_trained_for(
  tmp_path, rng
):
  seeing_widths(tmp_path / "ghn", rng)
  start = Start.parse(f"ghn:{tmp_path / 'ghn'}")
  spec = load_arch(NET)
  images = rng.integers(0, 256, (32, 32, 32, 3), np.uint8)
  data = SimpleNamespace(train_images=images)
  kernel = next(iter(spec.trainable_specs()))

  def params(scheme):
    return start.params(spec, data, 0, scheme=scheme)[kernel]

  np.testing.assert_array_equal(params(None), params(None))
  assert abs(params(None) - params(Scheme(4, 4))).max() > 1e-4
  assert abs(params(Scheme(8, 8)) - params(Scheme(4, 4))).max() > 1e-4


@pytest.mark.parametrize(
  "method, expected", [("qat", "w4a4"), ("float_qat", None), ("ptq", None)]
)
def test_a_start_is_that_of_the_widths_at_which_training_begins(
  method, expected, monkeypatch, tmp_path
):
  class SeenError(Exception):
    pass

  def params(self, spec, data, seed, symmetry, scheme):
    raise SeenError(scheme.name if scheme else None)

  monkeypatch.setattr(Start, "params", params)
  study = QatStudy(
    archs=("regular_conv_bn",),
    methods=(method,),
    dataset="digits",
    output_dir=str(tmp_path),
  )
  with pytest.raises(SeenError) as seen:
    list(grid.run(study))
  assert seen.value.args == (expected,)


def test_a_checkpoint_of_another_network_is_refused(finished, tmp_path):
  study, _ = finished
  spec = study.spec(study.cells()[0])
  store.save(tmp_path / "p.npz", {"stem/kernel": np.zeros((3, 3, 3, 8))})
  for place in (tmp_path, tmp_path / "p.npz"):
    with pytest.raises(CheckpointError):
      Start.parse(f"checkpoint:{place}").params(spec, None, 0)


@pytest.mark.parametrize("part", ["index", "data-*"])
def test_a_damaged_checkpoint_is_refused(finished, tmp_path, part):
  study, _ = finished
  cell = study.cells()[0]
  shutil.copytree(study.float_folder(cell, 4), tmp_path / "cell")
  for path in (tmp_path / "cell").glob(f"checkpoints/*.{part}"):
    path.write_bytes(path.read_bytes()[:2])
  start = Start.parse(f"checkpoint:{tmp_path / 'cell'}")
  with pytest.raises(CheckpointError, match=r"damaged.*train the network"):
    start.params(study.spec(cell), None, 0)


def test_normalisation_moves_into_the_first_kernel(lively):
  from qinit.data.normalise import normalise
  from qinit.functional.forward import forward

  spec, params = lively("regular_conv_no_bn")
  images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
  inner = {}

  def tap(into):
    def watch(kind, name, tensor):
      if name == "stem":
        into.append(tensor[:, 1:-1, 1:-1])
      return tensor

    return watch

  inner["ours"], inner["theirs"] = [], []
  unit = images.astype(np.float32) / 255
  forward(spec, for_unit_images(spec, params), unit, tap(inner["ours"]))
  forward(spec, params, normalise(images), tap(inner["theirs"]))
  np.testing.assert_allclose(
    inner["ours"][0], inner["theirs"][0], rtol=1e-4, atol=1e-5
  )
