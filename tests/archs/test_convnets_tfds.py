"""ConvNets-250K on disk: formats, reading, damage, interruption, Beam."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from qinit.archs import collection, convnets, darts
from qinit.archs.convnets import ConvNets, Stored
from qinit.archs.convnets_tfds import ConvNets250k
from qinit.archs.generator import Generator
from qinit.errors import DataError
from qinit.graph.view import view

SIZE = 200  # ArrayRecord files have blocks of 64 KiB
FORMATS = ("tfrecord", "array_record")
CONFIG = "convnets_250k"


def generate(folder, file_format="tfrecord", networks=None):
  builder = ConvNets250k(
    config=CONFIG,
    networks=networks or collection.convnets_250k(SIZE),
    processes=1,
    data_dir=folder,
    file_format=file_format,
  )
  tfds.disable_progress_bar()
  builder.download_and_prepare()
  return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  root = tmp_path_factory.mktemp("convnets")
  return {f: generate(root / f, f) for f in FORMATS}


@pytest.fixture(scope="module")
def networks():
  generator = Generator(collection.convnets_250k(SIZE), 1)
  return {
    name: list(generator.split(name))
    for name in ("bn_free", "test", "val", "deep", "wide", "train")
  }


def without_index(networks):
  return [network[1:] for network in networks]


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_is_read_is_what_was_generated(data, networks, file_format):
  stored = Stored(data[file_format], CONFIG)
  assert stored.sizes == dict.fromkeys(networks, SIZE)
  for name, split in networks.items():
    assert without_index(stored.read(name)) == without_index(split)


def test_tfds_load(data, networks):
  examples = tfds.load("conv_nets250k", split="wide", data_dir=data["tfrecord"])
  examples = list(examples.as_numpy_iterator())
  assert [e["digest"].decode() for e in examples] == [
    n.digest for n in networks["wide"]
  ]
  for example in examples[:5]:
    spec = convnets.spec(example)
    assert spec.num_params() == example["num_params"]
    assert spec.macs() == example["macs"]
    assert len(view(spec)) == example["num_nodes"]


def test_tfds_data_source(data, networks):
  source = tfds.data_source(
    "conv_nets250k", split="train", data_dir=data["array_record"]
  )
  assert len(source) == SIZE
  example = source[17]
  assert convnets.spec(example) == darts.build(networks["train"][17].config)


def test_spec_is_in_the_format_of_the_references(data, tmp_path):
  folder = os.environ.get("QINIT_REFERENCE_DIR")
  if not folder:
    pytest.skip("QINIT_REFERENCE_DIR is not set: no reference networks")
  with open(f"{folder}/ghn2/net0.json") as file:
    reference = json.load(file)
  mine = json.loads(ConvNets(data["array_record"])[0].spec)
  assert mine.keys() == reference.keys()
  assert mine["genotype"].keys() == reference["genotype"].keys()


def test_training_access(data, networks):
  nets = ConvNets(data["array_record"], "train")
  for (spec, graph), index in zip(
    nets.graphs([3, 0, 199, 3], virtual_edge=10), [3, 0, 199, 3], strict=True
  ):
    config = networks["train"][index].config
    assert spec == darts.build(config)
    assert len(graph) == nets[index].num_nodes
    assert graph.virtual_edge == 10 and graph.distance.max() == 10
  with pytest.raises(IndexError):
    nets[SIZE]


def test_no_network_of_a_test_split_is_trained_on(networks):
  digests = [n.digest for split in networks.values() for n in split]
  assert len(set(digests)) == len(digests)
  bn_free = collection.bn_free_50k(SIZE)
  train = {n.digest for n in Generator(bn_free, 1).split("train")}
  assert not train & set(digests[:-SIZE])


def test_the_other_configs_are_there():
  for name in ("bn_free_50k", "mobilenet_like"):
    builder = tfds.builder(f"conv_nets250k/{name}", data_dir="nowhere")
    assert builder.networks == collection.NAMED[name]
  assert collection.NAMED["bn_free_50k"].stored()[0].size == 50_000
  sizes = {s.name: s.size for s in collection.NAMED[CONFIG].stored()}
  assert sizes["train"] == 250_000


def test_tfrecord_has_no_random_access(data):
  with pytest.raises(DataError, match="--file_format=array_record"):
    ConvNets(data["tfrecord"])


def test_absent(data, tmp_path):
  with pytest.raises(DataError, match=r"there is no convnets_250k/1\.0\.0"):
    Stored(tmp_path, CONFIG)
  with pytest.raises(DataError, match=r"there is convnets_250k/1\.0\.0"):
    Stored(data["tfrecord"], "bn_free_50k")
  with pytest.raises(DataError, match="no split 'predefined': it has"):
    ConvNets(data["array_record"], "predefined")


def copied(source, tmp_path):
  """A copy to damage, and its folder of files."""
  shutil.copytree(source, tmp_path / "copy")
  return tmp_path / "copy", tmp_path / "copy/conv_nets250k" / CONFIG / "1.0.0"


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("share", [0, 0.3, 0.999])
def test_a_truncated_file_is_noticed(data, tmp_path, file_format, share):
  root, folder = copied(data[file_format], tmp_path)
  (path,) = folder.glob("*-val.*-of-*")
  content = path.read_bytes()
  path.write_bytes(content[: int(share * len(content))])
  stored = Stored(root, CONFIG)
  assert len(list(stored.read("test"))) == SIZE
  with pytest.raises(DataError, match=r"damaged \(.*\): delete the folder"):
    list(stored.read("val"))


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_altered_byte_is_noticed_or_does_not_matter(
  data, tmp_path, file_format, networks
):
  """ArrayRecord pads its files; altered padding changes nothing."""
  root, folder = copied(data[file_format], tmp_path)
  (path,) = folder.glob("*-val.*-of-*")
  content, noticed = path.read_bytes(), 0
  for place in np.linspace(100, len(content) - 100, 12, dtype=int):
    altered = bytearray(content)
    altered[place] ^= 1
    path.write_bytes(altered)
    try:
      found = without_index(Stored(root, CONFIG).read("val"))
    except DataError:
      noticed += 1
    else:
      assert found == without_index(networks["val"])
  assert noticed >= (12 if file_format == "tfrecord" else 4)


def test_fewer_examples_than_announced_are_noticed(data, tmp_path):
  root, folder = copied(data["tfrecord"], tmp_path)
  (path,) = folder.glob("*-val.*-of-*")
  records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
  with tf.io.TFRecordWriter(str(path)) as writer:
    for record in records[:-1]:
      writer.write(record)
  with pytest.raises(DataError, match="damaged"):
    list(Stored(root, CONFIG).read("val"))


def test_an_altered_network_is_noticed(data):
  network = ConvNets(data["array_record"], "val")[0]
  network.check()
  arguments = json.loads(network.spec)
  other = json.dumps(arguments | {"n_cells": arguments["n_cells"] + 1})
  changes = (
    {"spec": other},
    {"spec": network.spec[:-1]},
    {"num_nodes": network.num_nodes + 1},
    {"macs": 0},
    {"digest": "0" * 16},
  )
  for change in changes:
    with pytest.raises(DataError, match="a stored network is damaged"):
      network._replace(**change).check()


@pytest.mark.parametrize(
  "name", ["metadata.json", "dataset_info.json", "features.json"]
)
def test_damaged_descriptions(data, tmp_path, name):
  root, folder = copied(data["array_record"], tmp_path)
  (folder / name).write_text('{"identity":')
  with pytest.raises(DataError, match="damaged"):
    Stored(root, CONFIG)


def test_another_version_or_space_is_refused(data, tmp_path):
  root, folder = copied(data["array_record"], tmp_path)
  metadata = json.loads((folder / "metadata.json").read_text())
  metadata["identity"]["splits"][0]["space"] = "0" * 16
  (folder / "metadata.json").write_text(json.dumps(metadata))
  with pytest.raises(DataError, match="another space or comes from another"):
    Stored(root, CONFIG)
  metadata["identity"]["generator"] = 0
  (folder / "metadata.json").write_text(json.dumps(metadata))
  with pytest.raises(DataError, match="another space or comes from another"):
    Stored(root, CONFIG)
  folder.rename(folder.with_name("0.9.0"))
  with pytest.raises(DataError, match=r"there is convnets_250k/0\.9\.0"):
    Stored(root, CONFIG)


def test_a_moved_config_is_refused(data, tmp_path):
  root, folder = copied(data["array_record"], tmp_path)
  folder.parent.rename(folder.parent.with_name("mobilenet_like"))
  with pytest.raises(DataError, match="another space"):
    Stored(root, "mobilenet_like")


def test_a_killed_generation_leaves_nothing_that_looks_finished(
  tmp_path, networks
):
  """SIGKILL in the middle; the sampling processes end, the next generation
  gives the same."""
  code = (
    "from qinit.archs import collection, convnets_tfds\n"
    "networks = collection.convnets_250k(100_000)\n"
    "def progress(split, networks):\n"
    "  for i, network in enumerate(networks):\n"
    "    if split.name == 'test' and i == 50: print('begun', flush=True)\n"
    "    yield network\n"
    "convnets_tfds.ConvNets250k(config='convnets_250k', networks=networks,\n"
    "  processes=2, progress=progress, data_dir='.').download_and_prepare()\n"
  )
  child = subprocess.Popen(
    [sys.executable, "-c", code.replace("100_000", str(SIZE * 5))],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
  )
  while b"begun" not in (line := child.stdout.readline()):
    assert line, "ended too early"
  workers = children(child.pid)
  assert len(workers) == 2
  child.send_signal(signal.SIGKILL)
  child.wait()
  with pytest.raises(DataError, match="there is no"):
    Stored(tmp_path, CONFIG)
  deadline = time.monotonic() + 20
  while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
    time.sleep(0.1)
  assert not any(alive(pid) for pid in workers)
  generate(tmp_path, networks=collection.convnets_250k(SIZE).only(["val"]))
  found = Stored(tmp_path, CONFIG).read("val")
  assert without_index(found) == without_index(networks["val"])


def children(pid):
  with open(f"/proc/{pid}/task/{pid}/children") as file:
    return [int(child) for child in file.read().split()]


def alive(pid):
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rsplit(")", 1)[1].split()[0] != "Z"
  except OSError:
    return False


def test_importing_qinit_registers_nothing():
  code = "import sys, qinit, qinit.archs; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert "tensorflow_datasets" not in done.stdout.split()


def test_beam_keeps_the_same_networks(tmp_path, networks):
  beam = pytest.importorskip(
    "apache_beam", reason="apache-beam is not installed"
  )
  builder = ConvNets250k(
    config=CONFIG,
    networks=collection.convnets_250k(SIZE).only(["train"]),
    data_dir=tmp_path,
  )
  options = beam.options.pipeline_options.PipelineOptions([])
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(beam_options=options)
  )
  found = Stored(tmp_path, CONFIG).read("train")
  assert without_index(found) == without_index(networks["train"])


def test_examples_are_in_random_order(networks):
  """They are not shuffled when they are written."""
  sizes = np.array([n.num_params for n in networks["train"]])
  assert abs(np.corrcoef(np.arange(SIZE), sizes)[0, 1]) < 0.3
