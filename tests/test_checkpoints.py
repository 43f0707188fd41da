"""A training goes on where the newest readable checkpoint stands."""

import shutil

import pytest
import tensorflow as tf

from qinit import checkpoints
from qinit.errors import CheckpointError


class Training:
  """A counter that is saved after every step."""

  def __init__(self, folder):
    self.step = tf.Variable(0)
    self.manager = checkpoints.restored(
      tf.train.Checkpoint(step=self.step), folder, keep=2
    )

  def go_on(self, steps):
    for _ in range(steps):
      self.step.assign_add(1)
      self.manager.save(checkpoint_number=int(self.step))


@pytest.fixture
def folder(tmp_path):
  """With checkpoints of the steps 9 and 10, which text sorts otherwise."""
  Training(tmp_path).go_on(10)
  return tmp_path


def cut(folder, step):
  (data,) = folder.glob(f"ckpt-{step}.data-*")
  data.write_bytes(data.read_bytes()[:2])


def test_it_begins_where_there_is_none(tmp_path):
  assert int(Training(tmp_path / "none").step) == 0


def test_it_goes_on_at_the_newest(folder):
  assert int(Training(folder).step) == 10


def test_a_damaged_one_yields_to_the_one_before(folder):
  cut(folder, 10)
  training = Training(folder)
  assert int(training.step) == 9
  training.go_on(3)
  assert int(Training(folder).step) == 12
  assert sorted(p.stem for p in folder.glob("*.index")) == [
    "ckpt-11",
    "ckpt-12",
  ]


def test_one_whose_data_are_gone_yields_too(folder):
  for path in folder.glob("ckpt-10.data-*"):
    path.unlink()
  assert int(Training(folder).step) == 9


def test_a_damaged_list_hides_none(folder):
  (folder / "checkpoint").write_bytes(b"\x00junk")
  assert int(Training(folder).step) == 10


def test_where_all_are_damaged_the_sentence_says_what_to_do(folder):
  cut(folder, 9)
  cut(folder, 10)
  with pytest.raises(CheckpointError, match=r"damaged.*delete that folder"):
    Training(folder)
  shutil.rmtree(folder)
  assert int(Training(folder).step) == 0


def test_other_variables_are_refused(folder):
  other = tf.train.Checkpoint(epoch=tf.Variable(0))
  with pytest.raises(CheckpointError, match="of another version"):
    checkpoints.restored(other, folder)
