"""Runs TensorFlow Lite files in LiteRT and compares them with the simulator."""

import dataclasses
import warnings

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qinit.errors import RefusedError, one_of
from qinit.graph.spec import INPUT
from qinit.quant.affine import Affine
from qinit.quant.integer import IntegerNetwork

KERNELS = {
  "xnnpack": OpResolverType.AUTO,
  "reference": OpResolverType.BUILTIN_REF,
}


class Runtime:
  """A file in LiteRT.

  Args:
    model: the file's bytes.
    kernels: "xnnpack", what counts, or "reference".
    keep: whether every tensor can be read after a run, which is slower.
    batch_size: images that run at once; None keeps the file's own.

  Raises:
    RefusedError: if LiteRT refuses the file.
  """

  def __init__(
    self,
    model: bytes,
    kernels: str = "xnnpack",
    keep: bool = False,
    batch_size: int | None = None,
    threads: int = 1,
  ):
    resolver = KERNELS[one_of("kernels", kernels, KERNELS)]
    try:
      with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that `keep` is for debugging
        self.interpreter = Interpreter(
          model_content=model,
          experimental_op_resolver_type=resolver,
          experimental_preserve_all_tensors=keep,
          num_threads=threads,
        )
      self._allocate(batch_size)
    except (RuntimeError, ValueError) as error:
      raise RefusedError(f"LiteRT refuses the file: {error}") from None

  def output_codes(self, codes: np.ndarray) -> np.ndarray:
    """The file's output [B, classes] for input codes [B, H, W, C], uint8;
    those of INT8 files lie 128 lower and are brought up."""
    output = self.interpreter.get_output_details()[0]["index"]
    runs = [self._unsigned(output) for _ in self._invocations(codes)]
    return np.concatenate(runs)[: len(codes)]

  def affine(self, end: str) -> Affine:
    """How the file's "input" or "output" is quantised, in UINT8."""
    ends = {
      "input": self.interpreter.get_input_details,
      "output": self.interpreter.get_output_details,
    }
    scale, zero_point = ends[end]()[0]["quantization"]
    return Affine(np.float32(scale), zero_point + 128 * self._signed, 8)

  def tensors(self, codes: np.ndarray, names) -> dict[str, np.ndarray]:
    """Activations by name, uint8, for input codes [B, H, W, C]."""
    index = {
      d["name"]: d["index"] for d in self.interpreter.get_tensor_details()
    }
    runs = [
      {name: self._unsigned(index[name]) for name in names}
      for _ in self._invocations(codes)
    ]
    return {
      name: np.concatenate([run[name] for run in runs])[: len(codes)]
      for name in names
    }

  def _unsigned(self, index):
    values = self.interpreter.get_tensor(index)
    return values.view(np.uint8) ^ 128 if self._signed else values

  def _allocate(self, batch_size):
    details = self.interpreter.get_input_details()[0]
    self._input = details["index"]
    self._shape = tuple(details["shape"])
    self._signed = details["dtype"] == np.int8
    if batch_size not in (None, self._shape[0]):
      self._shape = (batch_size, *self._shape[1:])
      self.interpreter.resize_tensor_input(self._input, self._shape)
    self.interpreter.allocate_tensors()

  def _invocations(self, codes):
    """Runs batch after batch, the last one filled up with zeros."""
    for start in range(0, len(codes), self._shape[0]):
      batch = codes[start : start + self._shape[0]]
      full = np.zeros(self._shape, np.uint8)
      full[: len(batch)] = batch
      # Adding 128 to a byte turns its upper bit: INT8 to UINT8 and back.
      full = (full ^ 128).view(np.int8) if self._signed else full
      self.interpreter.set_tensor(self._input, full)
      self.interpreter.invoke()
      yield


@dataclasses.dataclass(frozen=True)
class Parity:
  """How far two arrays of codes agree: the share of equal codes, in percent,
  and the largest difference."""

  equal: float
  max_difference: int

  @classmethod
  def of(cls, a: np.ndarray, b: np.ndarray) -> "Parity":
    difference = np.abs(a.astype(np.int32) - b)
    return cls(100 * float(np.mean(difference == 0)), int(difference.max()))


def compare(
  model: bytes,
  network: IntegerNetwork,
  images,
  kernels: str = "xnnpack",
  batch_size: int | None = None,
) -> Parity:
  """The logits of file and simulator on images [B, H, W, C]."""
  runtime = Runtime(model, kernels, batch_size=batch_size)
  codes = runtime.output_codes(network.input_codes(images))
  return Parity.of(codes, network.output_codes(images))


def compare_layers(
  model: bytes,
  network: IntegerNetwork,
  images,
  kernels: str = "xnnpack",
  batch_size: int | None = None,
) -> dict[str, Parity]:
  """Every group of file and simulator, given the file's own inputs to it."""
  groups = network.placement.groups
  names = (INPUT, *(g.name for g in groups))
  runtime = Runtime(model, kernels, keep=True, batch_size=batch_size)
  stored = runtime.tensors(network.input_codes(images), names)
  # Codes of fewer than eight bits lie at the top of the byte in the file.
  codes = {n: stored[n] - (255 - network.affines[n].levels) for n in names}
  return {
    g.name: Parity.of(
      codes[g.name],
      network.run_node(g.name, *(codes[name] for name in g.inputs)),
    )
    for g in groups
  }
