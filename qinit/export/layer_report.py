"""Where the runtime, its reference kernels and the fake-quant graph part."""

import csv
import dataclasses
import io

import numpy as np

from qinit.export.runtime import Parity, Runtime
from qinit.functional.forward import forward
from qinit.graph.spec import INPUT
from qinit.quant.deployed import Deployed
from qinit.quant.fake_quant import FakeQuant
from qinit.quant.integer import IntegerNetwork


@dataclasses.dataclass(frozen=True)
class LayerParity:
  """One tensor in three computations, each from the network's input on,
  against the integer simulator: percent of equal codes and largest
  difference."""

  layer: str
  xnnpack: Parity
  reference: Parity
  fake_quant: Parity


def layer_report(
  model: bytes, job: Deployed, images: np.ndarray
) -> list[LayerParity]:
  """A row per group of the network, from input to output.

  Args:
    model: the file of `job`.
    images: [N, H, W, C].
  """
  network = IntegerNetwork(job.spec, job.params, job.ranges, job.scheme)
  wanted = network.codes(images)
  found = {
    kernels: _stored(model, network, images, kernels)
    for kernels in ("xnnpack", "reference")
  }
  found["fake_quant"] = _fake_quantised(job, network, images)
  return [
    LayerParity(
      g.name,
      **{
        how: Parity.of(codes[g.name], wanted[g.name])
        for how, codes in found.items()
      },
    )
    for g in network.placement.groups
  ]


def to_csv(rows: list[LayerParity]) -> str:
  """A line per layer."""
  columns = ("xnnpack", "reference", "fake_quant")
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  measures = ("equal_percent", "max_difference")
  names = [f"{c}_{m}" for c in columns for m in measures]
  writer.writerow(["layer", *names])
  for row in rows:
    parities = [getattr(row, c) for c in columns]
    values = [v for p in parities for v in (f"{p.equal:.4f}", p.max_difference)]
    writer.writerow([row.layer, *values])
  return text.getvalue()


def _stored(model, network, images, kernels):
  """Codes by tensor; narrow ones lie at the top of the byte in the file."""
  names = [g.name for g in network.placement.groups]
  runtime = Runtime(model, kernels, keep=True)
  stored = runtime.tensors(network.input_codes(images), names)
  offset = {n: 255 - network.affines[n].levels for n in names}
  return {n: stored[n].astype(np.int32) - offset[n] for n in names}


def _fake_quantised(job, network, images):
  """Codes of the float values that the fake-quant graph holds."""
  placement, codes = network.placement, {}
  inner = FakeQuant(placement, job.params, job.ranges, job.scheme)

  def tap(kind, name, tensor):
    tensor = inner(kind, name, tensor)
    if kind != "weight" and name != INPUT and name in placement.group:
      values = network.affines[name].quantize(tensor)
      codes[name] = values.astype(np.int32)
    return tensor

  forward(placement.spec, job.params, images, tap)
  return codes
