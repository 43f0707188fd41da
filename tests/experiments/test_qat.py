"""The commands of quantisation-aware training: bad input, and the bench."""

import pytest

from qinit.export import tflite
from qinit.quant.scheme import Scheme
from tests import quant_nets
from tests.commands import assert_refused, run

CASES = {
  "bits": (["--bits=w1a4"], "2 to 8 bits"),
  "arch": (["--arch=dws_conv"], "dws_conv_bn"),
  "quantizer": (["--quantizer=lsqq"], "lsq"),
  "start": (["--start=ghn:/nowhere.pt"], "there is no /nowhere.pt"),
}


@pytest.mark.parametrize("case", CASES)
def test_qat_refuses(case, tmp_path):
  flags, words = CASES[case]
  done = run("qat", *flags, f"--output_dir={tmp_path}/run")
  assert_refused(done, words)
  assert not (tmp_path / "run").exists()


def test_files_are_timed(tmp_path):
  for bits in (8, 4):
    job = quant_nets.job(quant_nets.cell(), scheme=Scheme(bits, bits))
    tflite.write(tmp_path / f"w{bits}.tflite", tflite.export(*job.args))
  model = tflite.export_float(job.spec, job.params)
  tflite.write(tmp_path / "float.tflite", model)
  done = run("tflite_bench", f"--models={tmp_path}/*.tflite", "--runs=5")
  assert done.returncode == 0, done.stderr
  header, *lines = done.stdout.splitlines()
  assert header.split()[:5] == ["model", "types", "KiB", "threads", "median_ms"]
  rows = [line.split() for line in lines]
  names = [row[0].rsplit("/")[-1] for row in rows]
  assert names == ["float.tflite", "w4.tflite", "w8.tflite"]
  assert [row[1] for row in rows] == ["float32", "uint8", "uint8"]
  for _, _, size, threads, median, p90, peak, *_ in rows:
    assert threads == "1"
    assert 0 < float(median) <= float(p90)
    assert float(size) > 1 and float(peak) > 0


def test_no_file_and_no_model_are_refused(tmp_path):
  done = run("tflite_bench", f"--models={tmp_path}/*.tflite")
  assert done.returncode == 2 and "there is no file" in done.stderr
  (tmp_path / "bad.tflite").write_bytes(b"nothing")
  done = run("tflite_bench", f"--models={tmp_path}/bad.tflite")
  assert done.returncode == 2 and "no model that LiteRT can run" in done.stderr
