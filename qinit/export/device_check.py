"""Checks on a device that a quantised file gives the codes it gave at export.

    python device_check.py MODEL.tflite MODEL.check.npz

Needs nothing but numpy and ai-edge-litert, so it can be copied alone. Exit
code 0: every code is equal; 1: some differ; 2: bad input.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class BadInput(Exception):
  """One sentence that names what is wrong with the files."""


def load_check(path: str) -> tuple[np.ndarray, np.ndarray]:
  """The codes that go in [B, H, W, C] and that came out [B, classes]."""
  try:
    with np.load(path) as check:
      return check["input_codes"], check["output_codes"]
  except FileNotFoundError:
    raise BadInput(f"there is no file {path}") from None
  except Exception:  # whatever a damaged archive makes numpy raise
    raise BadInput(
      f"{path} is damaged or no check file: it needs the arrays input_codes"
      " and output_codes"
    ) from None


def load_model(path: str) -> Interpreter:
  """LiteRT with its default kernels, tensors allocated."""
  try:
    with open(path, "rb") as file:
      interpreter = Interpreter(model_content=file.read())
    interpreter.allocate_tensors()
  except OSError as error:
    raise BadInput(f"cannot read {path}: {error.strerror}") from None
  except (RuntimeError, ValueError):
    raise BadInput(f"{path} is no model that LiteRT can run") from None
  return interpreter


def run(interpreter: Interpreter, codes: np.ndarray) -> np.ndarray:
  """Output codes [B, classes] for input codes [B, H, W, C], by the file's
  batch size; the last batch is filled up with zeros."""
  entry = interpreter.get_input_details()[0]
  out = interpreter.get_output_details()[0]["index"]
  shape, dtype = tuple(entry["shape"].tolist()), entry["dtype"]
  if (codes.shape[1:], codes.dtype) != (shape[1:], dtype):
    raise BadInput(
      f"the model takes {dtype.__name__} of shape {shape[1:]}, the check file"
      f" holds {codes.dtype} of shape {codes.shape[1:]}"
    )
  outputs = []
  for start in range(0, len(codes), shape[0]):
    batch = np.zeros(shape, dtype)
    part = codes[start : start + shape[0]]
    batch[: len(part)] = part
    interpreter.set_tensor(entry["index"], batch)
    interpreter.invoke()
    outputs.append(interpreter.get_tensor(out)[: len(part)])
  return np.concatenate(outputs)


def check(model_path: str, check_path: str) -> tuple[int, str]:
  """Exit code and the line to print; raises BadInput."""
  inputs, expected = load_check(check_path)
  codes = run(load_model(model_path), inputs)
  if codes.shape != expected.shape:
    raise BadInput(
      f"the model gives codes of shape {codes.shape}, the check file holds"
      f" {expected.shape}"
    )
  difference = np.abs(codes.astype(np.int32) - expected)
  wrong = int(np.count_nonzero(difference))
  if wrong:
    return 1, (
      f"DIFFERENT: {wrong} of {codes.size} output codes, by at most"
      f" {difference.max()}"
    )
  return 0, f"EQUAL: all {codes.size} output codes of {len(codes)} images"


def main(arguments: list[str]) -> int:
  """The command; prints one line."""
  try:
    if len(arguments) != 2:
      raise BadInput("usage: device_check.py MODEL.tflite MODEL.check.npz")
    code, line = check(*arguments)
  except BadInput as error:
    print(error, file=sys.stderr)
    return 2
  print(line)
  return code


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
