"""How much memory this process has taken."""

import resource
import sys


def peak_bytes() -> int:
  """Largest resident size so far; Linux counts in KiB, macOS in bytes."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == "darwin" else 1024 * peak
