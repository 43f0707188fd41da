"""Executes the notebooks and writes them as web pages.

  python notebooks/render.py build/docs/notebooks

About ten minutes of two CPU cores.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def execute(path: Path, folder: str | os.PathLike, limit: float | None = None):
  """The notebook with its outputs, run from top to bottom in `folder`.

  Raises:
    CellExecutionError: if a cell fails.
    TimeoutError: if it takes more than `limit` seconds.
  """
  notebook = nbformat.read(path, as_version=4)
  client = NotebookClient(
    notebook, timeout=None, resources={"metadata": {"path": os.fspath(folder)}}
  )
  asyncio.run(_within(limit, client.async_execute(env=_environment()), path))
  return notebook


def machine_paths(notebook) -> list[str]:
  """The lines of the outputs that name a place on this machine."""
  lines = (
    line
    for cell in notebook.cells
    for output in cell.get("outputs", ())
    for text in _texts(output)
    for line in text.splitlines()
  )
  return [line for line in lines if any(p in line for p in _places())]


def to_html(notebook, title: str) -> str:
  """The notebook as one web page."""
  resources = {"metadata": {"name": title}}
  return HTMLExporter().from_notebook_node(notebook, resources)[0]


def main(folder: str) -> None:
  """Writes FOLDER/NAME.html of every notebook."""
  os.makedirs(folder, exist_ok=True)
  for path in NOTEBOOKS:
    print(path.name, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as work:
      notebook = execute(path, work)
    if lines := machine_paths(notebook):
      raise SystemExit(f"{path.name} shows paths of this machine: {lines}")
    page = to_html(notebook, path.stem.replace("_", " "))
    (Path(folder) / f"{path.stem}.html").write_text(page)


async def _within(limit, running, path):
  """Awaits it. The client takes the end of its time for a kernel that died,
  unless that was just starting."""
  clock = asyncio.timeout(limit)
  try:
    async with clock:
      await running
  except (DeadKernelError, TimeoutError):
    if not clock.expired():
      raise
    raise TimeoutError(f"{path.name} took more than {limit} s") from None


def _environment():
  """This process's, for a kernel that runs elsewhere. What is left out:
  with it ipykernel drops, or TensorFlow writes, other lines than elsewhere."""
  left_out = ("PYTEST_CURRENT_TEST", "TF_CPP_MIN_LOG_LEVEL")
  paths = [str(ROOT), os.environ.get("PYTHONPATH")]
  env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
  return {name: env[name] for name in env if name not in left_out}


def _texts(output):
  """All that an output says, pictures apart."""
  yield output.get("text", "")
  yield from output.get("traceback", ())
  for kind, data in output.get("data", {}).items():
    if kind.startswith("text/"):
      yield data


def _places():
  places = {Path.home(), ROOT, Path(tempfile.gettempdir()), Path(sys.prefix)}
  return [f"{place}/" for place in places if place != Path("/")]


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("folder", help="where the pages are written")
  main(parser.parse_args().folder)
