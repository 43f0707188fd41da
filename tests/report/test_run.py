import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qinit import record
from qinit.errors import RunError
from qinit.report import run, sections, sources
from qinit.report.document import Bullets, Paragraph, Table
from qinit.report.marked import excerpt
from qinit.stats import layerwise
from qinit.stats.distribution import histogram, write_distributions

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {
  "dataset": "cifar10",
  "epochs": 20,
  "width": 0.25,
  "calibration_images": 512,
}


def _small(study):
  """Two cells of the made-up study, one of them diverged."""
  records, layers = study
  cell = ("dws_conv_no_bn", "rand_uni_med", 0)
  rows = [r for r in records if r.cell["arch"] == "dws_conv_no_bn"][:2]
  config = record.digest(SETTINGS)
  return [dataclasses.replace(r, config=config) for r in rows], {
    cell: layers[cell]
  }


def _config(path, settings=SETTINGS):
  path.write_text(json.dumps({"identity": settings, "commit": "c0ffee"}))


@pytest.fixture
def run_folder(study, tmp_path):
  records, layers = _small(study)
  folder = tmp_path / "runs" / "mine"
  for (arch, init, seed), rows in layers.items():
    cell = folder / "cells" / f"{arch}__{init}__s{seed}"
    cell.mkdir(parents=True)
    (cell / "layerwise.csv").write_text(layerwise.to_csv(rows))
    write_distributions(
      cell / "distributions.npz",
      {
        (r.kind, r.name): histogram([r.min, 0.0, r.max], r.min, r.max)
        for r in rows
      },
    )
  for row in records:
    record.append(folder / "records.jsonl", row)
  _config(folder / "config.json")
  return folder


@pytest.fixture
def results_folder(study, tmp_path):
  records, layers = _small(study)
  folder = tmp_path / "results" / "init_study"
  (folder / "layerwise").mkdir(parents=True)
  for (arch, init, seed), rows in layers.items():
    path = folder / "layerwise" / f"{arch}__{init}__s{seed}.csv"
    path.write_text(layerwise.to_csv(rows))
  for row in records:
    record.append(folder / "reduced.jsonl", row)
  _config(folder / "config.json")
  return folder.parent


def test_rebuild_makes_everything_from_rows(run_folder):
  assert run.rebuild(run_folder) == []
  table = (run_folder / "results.csv").read_text()
  assert "DWS_Conv_No_BN_RandUni_Small,,,,,,w8a8,1" in table
  assert {p.name for p in (run_folder / "figures").iterdir()} == {
    "init_study_accuracy.png",
    "init_study_dws_conv_no_bn_layers.png",
    "init_study_dws_conv_no_bn_rand_uni_med_range_and_precision.png",
    "init_study_dws_conv_no_bn_rand_uni_med_distributions.png",
  }
  (cell,) = (run_folder / "cells").iterdir()
  assert {p.name for p in (cell / "figures").iterdir()} == {
    "layers.png",
    "range_and_precision.png",
    "distributions.png",
  }
  page = (run_folder / "report.html").read_text()
  assert page.count("data:image/png;base64,") == 4
  assert not re.search(r'src="(?!data:)', page)
  for text in (
    "qinit: mine",
    "Divergences",
    "How it was run",
    "calibration images",
    "Training lasts 20 epochs",
    "from 512 training images",
  ):
    assert text in page


def test_pictures_of_a_cell_are_drawn_again_only_when_stale(run_folder):
  (cell,) = (run_folder / "cells").iterdir()
  run.draw_cell(cell)
  picture = cell / "figures" / "layers.png"
  first = picture.stat().st_mtime_ns
  run.draw_cell(cell)
  assert picture.stat().st_mtime_ns == first
  (cell / "layerwise.csv").touch()
  run.draw_cell(cell)
  assert picture.stat().st_mtime_ns > first


def test_a_run_at_another_width_alone_has_its_layers(run_folder):
  (cell,) = (run_folder / "cells").iterdir()
  for path in [*cell.glob("layerwise.csv"), *cell.glob("distributions.npz")]:
    path.rename(path.with_stem(f"{path.stem}_w4a4"))
  assert run.rebuild(run_folder) == []
  assert {p.name for p in (cell / "figures").iterdir()} == {
    "layers_w4a4.png",
    "range_and_precision_w4a4.png",
    "distributions_w4a4.png",
  }
  assert "Where most was lost" in (run_folder / "report.html").read_text()


def test_damage_is_reported_and_the_rest_is_kept(run_folder):
  with open(run_folder / "records.jsonl", "a") as file:
    file.write('{"schema": 1, "kind"\n')
  (cell,) = (run_folder / "cells").iterdir()
  (cell / "layerwise.csv").write_text("layer,na")
  (cell / "distributions.npz").write_bytes(b"PK")
  (run_folder / "config.json").write_text("{")
  complaints = run.rebuild(run_folder)
  assert len(complaints) == 4
  for name, complaint in zip(
    (
      "records.jsonl, line 3",
      "config.json",
      "layerwise.csv",
      "distributions.npz",
    ),
    complaints,
    strict=True,
  ):
    assert name in complaint and "was left out" in complaint
  assert "RandUni_Med" in (run_folder / "results.csv").read_text()


def test_nothing_to_report_is_said_in_a_sentence(run_folder, tmp_path):
  with pytest.raises(RunError, match="there is no run folder"):
    run.rebuild(tmp_path / "nowhere")
  (run_folder / "records.jsonl").write_text("{\nnot json\n")
  with pytest.raises(RunError, match=r"no finished cell \(2 damaged lines\)"):
    run.rebuild(run_folder)
  with pytest.raises(RunError, match="holds no rows"):
    run.results(tmp_path / "nowhere", tmp_path / "RESULTS.md")


def test_rows_of_another_kind_are_not_mixed_in(run_folder):
  rows, _ = record.read(run_folder / "records.jsonl")
  (run_folder / "records.jsonl").unlink()
  other = dataclasses.replace(rows[0], kind="bench")
  record.append(run_folder / "records.jsonl", other)
  with pytest.raises(RunError, match="no kind that has a report"):
    run.rebuild(run_folder)


def test_results_are_a_pure_function_of_the_files(results_folder, tmp_path):
  output = tmp_path / "RESULTS.md"
  assert run.results(results_folder, output) == []
  text = output.read_text()
  elsewhere = tmp_path / "copy"
  shutil.copytree(results_folder, elsewhere / "results")
  run.results(elsewhere / "results", elsewhere / "RESULTS.md")
  assert (elsewhere / "RESULTS.md").read_text() == text
  blocks, _ = run.document(results_folder)
  assert run.markdown(blocks, results_folder, output) == text
  links = re.findall(r"\]\((results/figures/\w+\.png)\)", text)
  assert len(links) == 3
  assert all((tmp_path / link).exists() for link in links)


def test_pictures_of_former_rows_go(results_folder, tmp_path):
  former = results_folder / "figures" / "init_study_former_layers.png"
  former.parent.mkdir(exist_ok=True)
  former.write_bytes(b"")
  run.results(results_folder, tmp_path / "RESULTS.md")
  assert not former.exists()


def test_results_say_how_they_were_made(results_folder):
  blocks, _ = run.document(results_folder)
  text = run.markdown(blocks, results_folder, "RESULTS.md")
  for part in (
    "JPEG of quality 75",
    "a test bench, 2 threads",
    "| seeds | 0 |",
    "| epochs trained | 3; 20 |",
    "multiplied by 0.25",
    "experiments.report --results=results",
    "DWS_Conv_No_BN_RandUni_Small (w8a8): its loss is not finite",
  ):
    assert part in text


def test_results_say_how_cells_were_lost(make):
  chance = [
    make.row("dws_conv_bn", "lsuv", s, "diverged", train_loss=2.3)
    for s in (0, 1)
  ]
  one = make.row("dws_conv_bn", "orthogonal", 0, "diverged", train_loss=2.3)
  other = make.row("dws_conv_bn", "orthogonal", 1, "diverged")
  found = sources.Study((*chance, one, other), {}, {}, {})
  bullets = next(
    b for b in sections.init_study(found) if isinstance(b, Bullets)
  )
  assert bullets.items == (
    "DWS_Conv_With_BN_Orthogonal (w8a8): its loss is not finite (1 of the"
    " seeds)",
    "DWS_Conv_With_BN_LSUV (w8a8): its accuracy stays at chance",
  )


def test_findings_need_enough_rows_to_say_anything(make):
  inits = ("rand_uni_large", "he_uniform", "he_normal", "glorot_uniform")
  more = ("rand_norm_med", "rand_uni_small")
  rows = [
    make.trained("dws_conv_bn", init, 50.0, 50.0 - loss)
    for loss, init in enumerate((*inits, *more))
  ]
  for count, there in ((1, False), (6, True)):
    study = sources.Study(tuple(rows[:count]), {}, {}, {})
    text = run.markdown(sections.init_study(study), "results", "RESULTS.md")
    assert ("### The paper's findings" in text) == there


def test_widths_of_one_training_are_one_cell(make):
  rows = [
    make.row("dws_conv_bn", "lsuv", bits=bits, minutes=minutes)
    for bits, minutes in (("w8a8", 30.0), ("w4a4", 36.0))
  ]
  study = sources.Study(tuple(rows), {}, {}, {})
  text = run.markdown(sections.init_study(study), "results", "RESULTS.md")
  assert "| cells | 1 |" in text and "| hours in all | 0.6 |" in text


def test_rows_of_small_data_sets_stay_out(results_folder):
  kind = results_folder / "init_study"
  digits = SETTINGS | {"dataset": "digits"}
  _config(kind / "digits.json", digits)
  rows, _ = record.read(kind / "reduced.jsonl")
  row = dataclasses.replace(rows[0], config=record.digest(digits))
  record.append(kind / "demo.jsonl", row)
  study = sources.from_results(kind)
  assert len(study.records) == 2
  assert study.complaints == ("rows of a small data set left out: 1",)


def test_rows_of_different_settings_are_not_averaged(results_folder):
  kind = results_folder / "init_study"
  rows, _ = record.read(kind / "reduced.jsonl")
  long = SETTINGS | {"epochs": 200}
  _config(kind / "paper.json", long)
  one = dataclasses.replace(rows[1], config=record.digest(long))
  record.append(kind / "paper.jsonl", one)
  blocks, _ = run.document(results_folder)
  text = run.markdown(blocks, results_folder, "RESULTS.md")
  assert text.count("### How it was run") == 2
  assert text.count("| DWS_Conv_No_BN_RandUni_Med |") == 3
  assert "### The study again, with epochs 200\n" in text
  qmse = f"{one.metrics['qmse']:.4f}"
  assert f"Over the 1 cells that both have: the median QMSE is {qmse}" in text
  assert text.index("| epochs | 20 |") < text.index("| epochs | 200 |")


def test_committed_results_are_up_to_date():
  committed = REPOSITORY / "RESULTS.md"
  if not committed.exists():
    pytest.skip("no results are committed")
  blocks, _ = run.document(REPOSITORY / "results")
  text = run.markdown(blocks, REPOSITORY / "results", committed)
  assert text == committed.read_text()
  readme = REPOSITORY / "README.md"
  renewed = run.with_results(readme, blocks, REPOSITORY / "results")
  assert renewed == readme.read_text()
  published = REPOSITORY / "qinit" / "ghn" / "published"
  cards = run.cards_with_results(published, REPOSITORY / "results")
  assert cards
  for card, text in cards.items():
    assert text == card.read_text(), card


def test_an_excerpt_stands_between_the_marks(tmp_path, results_folder):
  readme = tmp_path / "README.md"
  readme.write_text("above\n<!-- results -->old<!-- /results -->\nbelow\n")
  run.results(results_folder, tmp_path / "RESULTS.md", readme)
  text = readme.read_text()
  assert text.startswith("above\n<!-- results -->\n\n| Architecture |")
  assert text.endswith("\n<!-- /results -->\nbelow\n") and "old" not in text
  assert "(results/figures/init_study_accuracy.png)" in text
  blocks, _ = run.document(results_folder)
  assert run.with_results(readme, blocks, results_folder) == text
  readme.write_text("no marks")
  with pytest.raises(RunError, match="needs one <!-- results -->"):
    run.results(results_folder, tmp_path / "RESULTS.md", readme)


def test_cards_with_marks_are_renewed_others_left(tmp_path, results_folder):
  for name, text in ("old", "<!-- results -->1<!-- /results -->"), ("new", "x"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "MODEL_CARD.md").write_text(text)
  run.results(results_folder, tmp_path / "RESULTS.md", cards=tmp_path)
  cards = [(tmp_path / n / "MODEL_CARD.md").read_text() for n in ("old", "new")]
  # No hypernetwork was evaluated in these rows.
  assert cards == ["<!-- results -->\n\n\n\n<!-- /results -->", "x"]


def test_the_first_table_and_all_headlines_are_the_excerpt():
  one, other = (Table(("a",), ((cell,),)) for cell in "xy")
  answer, aside = Paragraph("Yes.", headline=True), Paragraph("Perhaps.")
  shown = dataclasses.replace(other, headline=True)
  blocks = [aside, one, answer, other, shown, answer]
  assert excerpt(blocks) == [one, answer, shown, answer]
  assert excerpt([aside]) == []


def test_reports_need_no_tensorflow():
  code = "import sys, qinit.report.run as r; print('tensorflow' in sys.modules)"
  found = subprocess.run(
    [sys.executable, "-c", code],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    check=True,
  )
  assert found.stdout == "False\n"


def _command(*flags):
  return subprocess.run(
    [sys.executable, "-m", "experiments.report", *flags],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
  )


def test_command(run_folder, results_folder, tmp_path):
  with open(run_folder / "records.jsonl", "a") as file:
    file.write("junk\n")
  done = _command(f"--run={run_folder}")
  assert (done.returncode, done.stdout) == (0, f"{run_folder}/report.html\n")
  assert "line 3 is damaged and was left out" in done.stderr
  output = tmp_path / "RESULTS.md"
  done = _command(f"--results={results_folder}", f"--output={output}")
  assert (done.returncode, done.stderr) == (0, "")
  assert output.exists()


@pytest.mark.parametrize(
  "flags, sentence",
  [
    (["--run=/nowhere"], "there is no run folder /nowhere\n"),
    ([], "give either --run=DIR or --results=DIR\n"),
  ],
)
def test_bad_input_ends_in_one_sentence(flags, sentence):
  done = _command(*flags)
  assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
