"""The report of where runtime, reference kernels and fake quant part."""

import csv
import io

import pytest

from qinit.export import layer_report, tflite
from qinit.quant.deployed import Deployed
from qinit.quant.quantized import quantize
from qinit.quant.scheme import Scheme
from tests import quant_nets


@pytest.fixture(scope="module", params=[(8, 8), (4, 4), (2, 2)])
def rows(request):
  job = quant_nets.job(quant_nets.cell(), scheme=Scheme(*request.param))
  model = tflite.lower(quantize(*job.args), batch_size=8)
  x = quant_nets.images(job.spec, 16)
  return layer_report.layer_report(model, Deployed(*job.args), x)


def test_the_runtime_never_parts_from_the_simulator(rows):
  assert [r.layer for r in rows if r.xnnpack.equal < 100] == []
  assert {"stem", "sum", "logits"} <= {r.layer for r in rows}


def test_the_others_part_by_a_code_at_most_in_the_first_layer(rows):
  first = rows[0]  # one convolution: nothing has built up yet
  assert first.reference.max_difference <= 1
  assert first.fake_quant.max_difference <= 1
  assert first.reference.equal > 95 and first.fake_quant.equal > 95


def test_as_csv(rows):
  table = list(csv.DictReader(io.StringIO(layer_report.to_csv(rows))))
  assert [line["layer"] for line in table] == [r.layer for r in rows]
  assert float(table[0]["xnnpack_equal_percent"]) == 100
