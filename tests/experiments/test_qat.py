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
  done = run("tflite_bench", f"--models={tmp_path}/*.tflite", "--runs=5")
  assert done.returncode == 0, done.stderr
  header, *lines = done.stdout.splitlines()
  assert header.split()[:5] == ["model", "types", "KiB", "threads", "median_ms"]
  assert [line.split()[0][-9:] for line in lines] == ["w4.tflite", "w8.tflite"]
  for line in lines:
    _, types, size, threads, median, p90, peak, *_ = line.split()
    assert (types, threads) == ("uint8", "1")
    assert 0 < float(median) <= float(p90)
    assert float(size) > 1 and float(peak) > 0


def test_no_file_and_no_model_are_refused(tmp_path):
  done = run("tflite_bench", f"--models={tmp_path}/*.tflite")
  assert done.returncode == 2 and "there is no file" in done.stderr
  (tmp_path / "bad.tflite").write_bytes(b"nothing")
  done = run("tflite_bench", f"--models={tmp_path}/bad.tflite")
  assert done.returncode == 2 and "no model that LiteRT can run" in done.stderr
