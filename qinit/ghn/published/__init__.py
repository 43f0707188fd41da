"""Hypernetworks that come with the package: a folder of `ghn.save` each,
with a model card."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def names() -> list[str]:
  """What `find` knows."""
  return sorted(path.parent.name for path in _FOLDER.glob("*/ghn.json"))


def find(name: str) -> Path | None:
  """The folder of a published hypernetwork, None if there is none."""
  return _FOLDER / name if name in names() else None
