"""The peak is this process' own."""

import subprocess
import sys

import numpy as np

from qinit import memory

_CHILD = "from qinit import memory; print(memory.peak_bytes())"


def test_the_peak_is_that_of_this_process_alone():
  before = memory.peak_bytes()
  held = np.ones(2**28, np.uint8)  # 256 MiB
  mine = memory.peak_bytes()
  assert mine >= 2**28 and mine >= before
  del held
  assert memory.peak_bytes() > mine - 2**20  # a mark, which Linux rounds
  done = subprocess.run(
    [sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True
  )
  assert 2**22 < int(done.stdout) < 2**27  # no NumPy, no TensorFlow
