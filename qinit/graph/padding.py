"""How many pixels a convolution pads."""

from collections.abc import Sequence

Pads = list[tuple[int, int]]


def amounts(
  sizes: Sequence[int],
  kernel_size: Sequence[int],
  strides: Sequence[int],
  dilation: int,
) -> tuple[Pads, Pads]:
  """Pixels (before, after) in each direction: TensorFlow's SAME, for which
  the size of the image counts, and symmetric padding, for which it does not."""
  same, symmetric = [], []
  for n, k, stride in zip(sizes, kernel_size, strides, strict=True):
    reach = dilation * (k - 1)
    total = max((-(-n // stride) - 1) * stride + reach + 1 - n, 0)
    same.append((total // 2, total - total // 2))
    symmetric.append((reach // 2, reach // 2))
  return same, symmetric
