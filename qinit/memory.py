"""How much memory this process has taken."""

import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
  """Largest resident size so far.

  Linux's `ru_maxrss` begins with that of the process that started this one, so
  the high-water mark of the memory itself is read there; macOS counts bytes.
  """
  if not _STATUS.exists():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  lines = _STATUS.read_text().splitlines()
  mark = next(line for line in lines if line.startswith("VmHWM"))
  return 1024 * int(mark.split()[1])
