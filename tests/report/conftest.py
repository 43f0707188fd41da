"""Synthetic but plausible rows: two architectures with and without BN."""

import types

import numpy as np
import pytest

from qinit.archs import zoo
from qinit.params.initializers import PAPER_INITIALIZERS
from qinit.record import Record
from qinit.stats.layerwise import LayerRow


def row(arch, init, seed=0, status="ok", bits="w8a8", minutes=1.0, **metrics):
  cell = {"arch": arch, "init": init, "seed": seed, "bits": bits}
  env = {"hardware": "a test bench", "threads": 2}
  env["seconds"] = 60 * minutes
  return Record("init_study", cell, "c0ffee", metrics, status, env)


def trained(arch, init, fp32, quint8, seed=0, qmse=0.1, qce=0.9, **more):
  return row(
    arch,
    init,
    seed,
    fp32_accuracy=fp32,
    quint8_accuracy=quint8,
    accuracy_decrease=100 * (fp32 - quint8) / fp32,
    qmse=qmse,
    qce=qce,
    **more,
  )


def layers_of(arch, seed=0, scale=1.0):
  """A row per kernel and per activation, ranges growing with `scale`."""
  rng = np.random.default_rng(seed)
  spec = zoo.build(arch, 0.25)
  names = [p.node for p in spec.param_specs().values() if p.is_kernel]
  rows = []
  for kind in ("weight", "activation"):
    for layer, name in enumerate(names):
      spike = np.exp(rng.normal(0, 0.8))
      lo = 0.0 if kind == "activation" else -scale * spike
      hi = scale * spike * (3 if kind == "activation" else 1)
      precision = float(np.clip(0.75 / (1 + 0.3 * spike), 0.02, 1))
      rows.append(
        LayerRow(
          layer,
          name,
          kind,
          hi - lo,
          lo,
          hi,
          precision,
          4.0 + spike,
          38 + 6 * np.log(precision) - 2 * spike,
          0.01,
          1e-4 * spike,
          1e-3 * spike / precision,
          0.5 * spike,
        )
      )
  return rows


def layer(index, name, kind, span=1.0, precision=0.5, kl=0.01, loss=0.0):
  fixed = (3.0, 30.0, 0.0, 1e-5)
  return LayerRow(
    index, name, kind, span, 0.0, span, precision, *fixed, kl, loss
  )


@pytest.fixture(scope="session")
def make():
  """The builders of rows above."""
  return types.SimpleNamespace(
    row=row, trained=trained, layer=layer, layers=layers_of
  )


@pytest.fixture(scope="session")
def study():
  """Records and layerwise rows of a whole grid, made up."""
  rng = np.random.default_rng(0)
  records, layers = [], {}
  for arch in (
    "regular_conv_bn",
    "dws_conv_bn",
    "dws_conv_no_bn",
    "mbnetv2_bn",
  ):
    for i, init in enumerate(PAPER_INITIALIZERS):
      if arch == "dws_conv_no_bn" and i % 3 == 0:
        records.append(row(arch, init, status="diverged", epochs=3))
        continue
      for seed in range(2 if i % 2 else 1):
        fp32 = 62 + 12 * rng.random()
        drop = rng.exponential(2.5 if "dws" in arch else 0.8)
        records.append(
          trained(
            arch,
            init,
            fp32,
            fp32 - drop,
            seed,
            qmse=drop / 9,
            qce=0.9 + drop / 30,
            epochs=20,
            litert_accuracy=fp32 - drop,
            litert_equal_codes=99.971,
          )
        )
        layers[arch, init, seed] = layers_of(arch, i + seed, 1 + drop)
  return records, layers
