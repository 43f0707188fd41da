"""How long a TensorFlow Lite file takes on this machine, and how much memory.

    python latency.py MODEL.tflite THREADS RUNS

Needs nothing but numpy and ai-edge-litert, so it can be copied to a device
alone. Prints one line of JSON: latencies in milliseconds, and the memory that
loading and running the file added to the process, in MiB.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def measure(path: str, threads: int, runs: int) -> dict:
  """Median and 90th percentile over single runs, after one to warm up."""
  before = _peak()
  interpreter = Interpreter(model_path=path, num_threads=threads)
  interpreter.allocate_tensors()
  entry = interpreter.get_input_details()[0]
  interpreter.set_tensor(entry["index"], _random(entry))
  interpreter.invoke()
  times = []
  for _ in range(runs):
    start = time.perf_counter()
    interpreter.invoke()
    times.append(1000 * (time.perf_counter() - start))
  peak = _peak() - before
  return {
    "threads": threads,
    "median_ms": float(np.median(times)),
    "p90_ms": float(np.percentile(times, 90)),
    "peak_mib": peak,
    "types": types(interpreter),
    **delegation(interpreter),
  }


def types(interpreter) -> list[str]:
  """Element types of the activations and weights, INT32 apart."""
  found = {d["dtype"].__name__ for d in interpreter.get_tensor_details()}
  return sorted(found - {"int32", "bool", "object_"})


def delegation(interpreter) -> dict:
  """Operators of the file, and delegates that XNNPACK made of them: one where
  it runs the whole network."""
  names = [d["op_name"] for d in interpreter._get_ops_details()]
  delegates = names.count("DELEGATE")
  return {"operators": len(names) - delegates, "delegates": delegates}


def _random(entry):
  rng = np.random.default_rng(0)
  if entry["dtype"] == np.float32:
    return rng.random(entry["shape"], np.float32)
  info = np.iinfo(entry["dtype"])
  return rng.integers(
    info.min, info.max, entry["shape"], entry["dtype"], endpoint=True
  )


def _peak():
  """Largest resident size so far in MiB, as `qinit.memory` reads it."""
  status = Path("/proc/self/status")
  if not status.exists():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  lines = status.read_text().splitlines()
  return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
  model, count, repeats = sys.argv[1:]
  print(json.dumps(measure(model, int(count), int(repeats))))
