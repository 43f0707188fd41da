"""The notebooks: as they are committed, and run from top to bottom."""

import json
import re

import pytest

from notebooks import render

# Seconds that one notebook may take; they aim at half of it.
LIMIT = 300
EVERY_NOTEBOOK = pytest.mark.parametrize(
  "path", render.NOTEBOOKS, ids=lambda path: path.stem
)


def test_there_are_four():
  assert len(render.NOTEBOOKS) == 4


@EVERY_NOTEBOOK
def test_committed_without_outputs_and_paths(path):
  text = path.read_text()
  assert not re.search(r"/(home|Users|root|tmp|work|content)/", text)
  notebook = json.loads(text)
  cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
  assert notebook["nbformat"] == 4
  for cell in cells:
    assert cell["outputs"] == [] and cell["execution_count"] is None


@EVERY_NOTEBOOK
def test_the_first_cell_installs_the_package_where_it_is_missing(path):
  cells = json.loads(path.read_text())["cells"]
  first = next(c for c in cells if c["cell_type"] == "code")
  source = "".join(first["source"])
  assert 'find_spec("qinit") is None' in source
  assert re.search(r"^  %pip install .*git\+\{REPOSITORY\}", source, re.M)
  assert not any(c["metadata"].get("tags") for c in cells)


@pytest.mark.long
@EVERY_NOTEBOOK
def test_runs_from_top_to_bottom(path, tmp_path):
  notebook = render.execute(path, tmp_path, LIMIT)
  assert render.machine_paths(notebook) == []
  assert any(
    "image/png" in output.get("data", {})
    for cell in notebook.cells
    for output in cell.get("outputs", ())
  )


def test_what_takes_too_long_is_named(tmp_path):
  import nbformat
  import nbformat.v4 as nbf

  cells = [nbf.new_code_cell("import time; time.sleep(60)")]
  nbformat.write(nbf.new_notebook(cells=cells), tmp_path / "slow.ipynb")
  with pytest.raises(TimeoutError, match=r"slow\.ipynb took more than 5 s"):
    render.execute(tmp_path / "slow.ipynb", tmp_path, 5)


def test_paths_are_seen(tmp_path):
  import nbformat.v4 as nbf

  outputs = [
    nbf.new_output("stream", text=f"fine\nwritten to {tmp_path}/x\n"),
    nbf.new_output("display_data", {"image/png": f"{tmp_path}/"}),
    nbf.new_output("display_data", {"text/html": f"<b>{render.ROOT}/a</b>"}),
  ]
  notebook = nbf.new_notebook(cells=[nbf.new_code_cell(outputs=outputs)])
  found = render.machine_paths(notebook)
  assert found == [f"written to {tmp_path}/x", f"<b>{render.ROOT}/a</b>"]
