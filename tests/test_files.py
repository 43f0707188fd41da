"""Files that appear whole or not at all."""

import pytest

from qinit import files


def test_what_was_written_is_there_and_nothing_else(tmp_path):
  files.write_text(tmp_path / "a.txt", "text")
  files.write_bytes(tmp_path / "b.bin", b"\x00\x01")
  assert (tmp_path / "a.txt").read_text() == "text"
  assert (tmp_path / "b.bin").read_bytes() == b"\x00\x01"
  assert {p.name for p in tmp_path.iterdir()} == {"a.txt", "b.bin"}


def test_a_failure_leaves_what_was_there(tmp_path):
  path = tmp_path / "a.txt"
  files.write_text(path, "old")
  with pytest.raises(RuntimeError), files.whole(path) as partial:
    partial.write_text("new, but only ha")
    raise RuntimeError
  assert path.read_text() == "old"
  assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_until_the_end_nothing_is_to_be_seen(tmp_path):
  path = tmp_path / "a.txt"
  with files.whole(path) as partial:
    partial.write_text("half")
    assert not path.exists()
  assert path.read_text() == "half"
