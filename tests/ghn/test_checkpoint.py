"""Reading hypernetworks: what is admitted and what is refused."""

import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

import qinit.ghn
from qinit.errors import CheckpointError
from qinit.ghn import torch_file
from qinit.ghn.checkpoint import from_state_dict, published_shapes
from qinit.ghn.config import GhnConfig
from qinit.ghn.hypernet import HyperNet

CONFIG = GhnConfig(hid=8, max_channels=4, max_kernel=3, virtual_edge=50)
PUBLISHED = {
  "max_shape": (4, 4, 3, 3),
  "num_classes": 10,
  "hypernet": "gatedgnn",
  "decoder": "conv",
  "weight_norm": True,
  "ve": True,
  "layernorm": True,
  "hid": 8,
}


class Name:
  """Pickles as a reference to a global of another module."""

  def __init__(self, module, name):
    self.module, self.name = module, name


class Storage:
  def __init__(self, key, array):
    self.key, self.array = key, array


class Call:
  """Pickles as a call of `function` with `arguments`."""

  def __init__(self, function, *arguments):
    self.function, self.arguments = function, arguments

  def __reduce__(self):
    return os.path.join, self.arguments


class Writer(pickle._Pickler):
  """Writes what PyTorch would, without PyTorch."""

  def __init__(self, file):
    super().__init__(file, protocol=2)
    self.storages = {}

  def persistent_id(self, obj):
    if not isinstance(obj, Storage):
      return None
    self.storages[obj.key] = obj.array
    kind = Name("torch", "FloatStorage")
    return "storage", kind, obj.key, "cpu", obj.array.size

  def save(self, obj, save_persistent_id=True):
    if isinstance(obj, Name):
      self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
    elif isinstance(obj, Call):
      self.save(obj.function)
      self.save(obj.arguments)
      self.write(pickle.REDUCE)
    elif isinstance(obj, np.ndarray):
      self.save(tensor(obj, str(len(self.storages))))
    else:
      super().save(obj, save_persistent_id)


def tensor(array, key, offset=0, size=None, stride=None):
  stride = stride or tuple(s // array.itemsize for s in array.strides)
  rebuild = Name("torch._utils", "_rebuild_tensor_v2")
  hooks = Call(Name("collections", "OrderedDict"))
  flat = Storage(key, np.ascontiguousarray(array).ravel())
  size = array.shape if size is None else size
  return Call(rebuild, flat, offset, size, stride, False, hooks)


def write(path, content, compression=zipfile.ZIP_STORED):
  file = io.BytesIO()
  writer = Writer(file)
  writer.dump(content)
  with zipfile.ZipFile(path, "w", compression) as archive:
    archive.writestr("net/data.pkl", file.getvalue())
    for key, array in writer.storages.items():
      archive.writestr(f"net/data/{key}", array.tobytes())
  return path


def state_dict(rng):
  return {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in published_shapes(CONFIG).items()
  }


def published(rng):
  state = collections.OrderedDict(state_dict(rng))
  return {"state_dict": dict(state), "config": dict(PUBLISHED), "epoch": 3}


@pytest.fixture
def path(tmp_path):
  return tmp_path / "ghn.pt"


def test_reads_what_was_written(path, rng):
  content = published(rng)
  found = torch_file.read(write(path, content))
  assert found["config"] == PUBLISHED and found["epoch"] == 3
  for name, value in content["state_dict"].items():
    np.testing.assert_array_equal(found["state_dict"][name], value)
  ghn = qinit.ghn.load(path)
  assert ghn.config == CONFIG
  expected = from_state_dict(CONFIG, content["state_dict"])
  for name, weight in expected.weights.items():
    np.testing.assert_array_equal(ghn.weights[name], weight)


def test_a_transposed_tensor_keeps_its_strides(path, rng):
  array = rng.normal(size=(3, 5)).astype(np.float32)
  view = tensor(array, "0", offset=1, size=(4, 2), stride=(1, 5))
  found = torch_file.read(write(path, {"t": view}))["t"]
  np.testing.assert_array_equal(found, array[:2, 1:].T)


@pytest.mark.parametrize(
  "attack",
  [
    Call(Name("os", "system"), "touch pwned"),
    Call(Name("builtins", "eval"), "1 + 1"),
    Call(Name("torch._utils", "_rebuild_parameter"), 1),
    Call(Name("numpy.core.multiarray", "_reconstruct"), 1),
    Name("torch", "load"),
  ],
)
def test_a_hostile_pickle_is_refused(path, attack, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  write(path, {"state_dict": attack})
  with pytest.raises(CheckpointError, match=r"was refused: it asks for"):
    qinit.ghn.load(path)
  assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
  "change",
  [
    dict(size=(4, 5)),
    dict(offset=7),
    dict(offset=-1),
    dict(stride=(5, 7)),
    dict(size=(3,)),
    dict(size=(3, "5")),
  ],
)
def test_a_tensor_beyond_its_storage_is_refused(path, rng, change):
  array = rng.normal(size=(3, 5)).astype(np.float32)
  write(path, {"t": tensor(array, "0", **change)})
  with pytest.raises(CheckpointError, match=r"ghn\.pt"):
    torch_file.read(path)


def test_damaged_files(path, rng, tmp_path):
  whole = write(path, published(rng)).read_bytes()
  for size in (0, 10, len(whole) // 2, len(whole) - 1):
    path.write_bytes(whole[:size])
    with pytest.raises(CheckpointError, match="damaged"):
      qinit.ghn.load(path)
  write(path, published(rng), zipfile.ZIP_DEFLATED)
  with pytest.raises(CheckpointError, match="is compressed"):
    qinit.ghn.load(path)
  with pytest.raises(CheckpointError, match="there is no hypernetwork at"):
    qinit.ghn.load(tmp_path / "other.pt")


def test_flipped_bytes_never_crash(path, rng):
  whole = bytearray(write(path, published(rng)).read_bytes())
  for _ in range(300):
    bad = bytearray(whole)
    for place in rng.integers(0, 4000, 3):
      bad[place] = rng.integers(256)
    path.write_bytes(bad)
    try:
      qinit.ghn.load(path)
    except CheckpointError as error:
      assert str(path) in str(error)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda c: c.pop("config"), "no checkpoint of a hypernetwork"),
    (lambda c: c.pop("state_dict"), "no checkpoint of a hypernetwork"),
    (lambda c: c["config"].pop("hid"), "no checkpoint of a hypernetwork"),
    (lambda c: c["config"].update(decoder="mlp"), "'mlp' is not supported"),
    (lambda c: c["config"].update(hypernet="gcn"), "unknown hypernetwork"),
    (lambda c: c["config"].update(hid=6), "hid must be a multiple of 4"),
    (lambda c: c["config"].update(num_classes=0), "num_classes must be in"),
    (
      lambda c: c["state_dict"].pop("ln.bias"),
      "the weight 'ln.bias' is missing",
    ),
    (
      lambda c: c["state_dict"].update(other=np.ones(2, np.float32)),
      "has no weight 'other'",
    ),
    (
      lambda c: c["state_dict"].update({"ln.bias": np.ones(9, np.float32)}),
      r"'ln.bias' has shape \(9,\) instead of \(8,\)",
    ),
    (lambda c: c["state_dict"].update({"ln.bias": "text"}), "ln.bias"),
  ],
)
def test_foreign_checkpoints(path, rng, change, message):
  content = published(rng)
  change(content)
  write(path, content)
  with pytest.raises(CheckpointError, match=message) as error:
    qinit.ghn.load(path)
  assert "\n" not in str(error.value)


def test_our_own_format(tmp_path):
  config = GhnConfig(hid=8, max_channels=4, max_kernel=3, virtual_edge=10)
  ghn = HyperNet(config)
  qinit.ghn.save(tmp_path / "own", ghn)
  found = qinit.ghn.load(tmp_path / "own")
  assert found.config == config
  for name, weight in ghn.weights.items():
    np.testing.assert_array_equal(found.weights[name], weight)


def test_our_own_format_damaged(tmp_path):
  folder = tmp_path / "own"
  qinit.ghn.save(folder, HyperNet(CONFIG))
  config = (folder / "ghn.json").read_text()
  for text in ("{", "[]", "{}", '{"hid": 8, "colour": 1}', '{"hid": "x"}'):
    (folder / "ghn.json").write_text(text)
    with pytest.raises(CheckpointError, match="own"):
      qinit.ghn.load(folder)
  (folder / "ghn.json").unlink()
  with pytest.raises(CheckpointError, match=r"has no ghn\.json"):
    qinit.ghn.load(folder)
  (folder / "ghn.json").write_text(config)
  next(folder.glob("ghn.data*")).write_bytes(b"")
  with pytest.raises(CheckpointError, match="damaged"):
    qinit.ghn.load(folder)
