"""convnets_dataset: its table and figures, and bad input."""

import json

import pytest

from qinit.archs import darts
from qinit.archs.convnets import ConvNets, Stored
from qinit.graph import ops
from tests import commands


def run(*flags):
  return commands.run("convnets_dataset", *flags, timeout=300)


def test_generates_surveys_and_draws(tmp_path):
  flags = ["--size=8", f"--output_dir={tmp_path}", "--processes=1"]
  done = run(*flags)
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  heads = [line.split()[0] for line in lines[2:9]]
  splits = ["bn_free", "test", "val", "deep", "wide", "train", "bn_free_50k"]
  assert heads == splits
  assert "100.0 %" in lines[2]
  assert "train: 100%" in done.stderr
  folder = tmp_path / "convnets_figures" / "convnets_250k"
  for name in ("sizes.png", "operations.png", "samples.png"):
    assert (folder / name).stat().st_size > 5000
  statistics = json.loads((folder / "statistics.json").read_text())
  assert list(statistics) == splits
  networks = list(Stored(tmp_path, "convnets_250k").read("train"))
  train = statistics["train"]
  assert train["num_nodes"]["max"] == max(n.num_nodes for n in networks)
  assert train["networks"] == 8
  again = run(*flags, "--verbosity=-1")
  assert again.stdout == done.stdout and again.stderr == ""
  other = run(*flags, "--seed=1")
  assert_refused(other, "choose another --output_dir")


def test_a_hardware_aware_space(tmp_path):
  done = run(
    "--split=train",
    "--size=6",
    "--space=mobilenet_like",
    "--max_macs=30000000",
    "--kernels=3,5",
    "--channels=16,32",
    "--name=tiny_mobile",
    "--file_format=array_record",
    "--processes=1",
    f"--output_dir={tmp_path}",
  )
  assert done.returncode == 0, done.stderr
  networks = ConvNets(tmp_path, "train", "tiny_mobile")
  assert len(networks) == 6
  for network in networks:
    spec = darts.build(network.config)
    assert network.macs <= 30_000_000 and network.config.C in (16, 32)
    for node in spec.nodes:
      if isinstance(node.op, ops.DepthwiseConv):
        assert node.op.dilation == 1 and max(node.op.kernel_size) <= 5


CASES = {
  "no folder": ([], "--output_dir is missing"),
  "split": (["--split=bnfree"], "did you mean bn_free"),
  "size": (["--size=0"], "--size"),
  "format": (["--file_format=riegeli"], "array_record"),
  "space": (["--space=mobile"], "mobilenet_like"),
  "op": (["--ops=conv_9x9"], "conv_3x3"),
  "no convolution": (["--ops=skip_connect"], "needs a convolution"),
  "kernel": (["--kernels=4"], "3, 5, 7"),
  "no kernel": (["--kernels=big"], "--kernels needs whole numbers"),
  "channels": (["--channels=20,40"], "such as 16,64"),
  "seed": (["--seed=-1"], "--seed"),
  "name": (["--name=bn_free_50k"], "cannot be used"),
}


@pytest.mark.parametrize("case", CASES)
def test_refusals(case, tmp_path):
  flags, words = CASES[case]
  out = tmp_path / "data"
  folder = [] if case == "no folder" else [f"--output_dir={out}"]
  assert_refused(run(*flags, *folder), words)
  assert not out.exists()


def assert_refused(done, words):
  assert done.returncode == 2, done.stderr
  assert words in done.stderr
  assert "Traceback" not in done.stderr
  assert done.stdout == ""
