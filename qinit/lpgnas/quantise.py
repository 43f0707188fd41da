"""Quantising tensors: the formats of `formats`, forward and back."""

import math

import tensorflow as tf

from qinit.lpgnas.formats import KINDS, Format
from qinit.lpgnas.pick import pick

# Elements from which the gradient to the options that were not taken is
# estimated.
_SAMPLE = 8192


def split(x: tf.Tensor, fmt: Format) -> tuple[tf.Tensor, tf.Tensor]:
  """Codes (float32, whole numbers, the shape of x) and f (a whole number)."""
  codes, f, _ = _split(x, KINDS.index(fmt.kind), fmt.bits, fmt.frac)
  return codes, f


def quantise(x: tf.Tensor, fmt: Format) -> tf.Tensor:
  """The nearest values that `fmt` holds, gradients straight through."""
  kind = KINDS.index(fmt.kind)

  @tf.custom_gradient
  def run(x):
    codes, f, bounds = _split(x, kind, fmt.bits, fmt.frac)
    return codes * exp2(-f), lambda dy: _passed(x, dy, kind, bounds)

  return run(x)


def quantise_one_of(
  x: tf.Tensor,
  formats: tuple[Format, ...],
  one_hot: tf.Tensor,
  taught: bool = True,
) -> tf.Tensor:
  """`x` in the format that `one_hot` [K] marks; only that one is executed.

  Going back, the gradient reaches every entry of `one_hot`: that of entry k is
  <dL/dy, y_k>, with y_k the tensor in format k, estimated from a sample of
  the elements. It says to first order what another format would do to the
  loss, which the format taken cannot say of itself. None if not `taught`.
  """
  table = [(KINDS.index(f.kind), f.bits, f.frac) for f in formats]

  @tf.custom_gradient
  def run(x, one_hot):
    index = tf.argmax(one_hot, output_type=tf.int32)
    kinds, bits, frac = (
      tf.gather(column, index) for column in zip(*table, strict=True)
    )
    same = len({kind for kind, _, _ in table}) == 1
    kind = table[0][0] if same else kinds
    codes, f, bounds = _split(x, kind, bits, frac)

    def gradient(dy):
      to_options = _to_options(x, dy, formats) if taught else None
      return _passed(x, dy, kind, bounds), to_options

    return codes * exp2(-f), gradient

  return run(x, one_hot)


def exponent_above(x: tf.Tensor) -> tf.Tensor:
  """The least e with |x| < 2^e, elementwise and exact; -100 at least."""
  bits = tf.bitcast(tf.abs(x), tf.int32)
  return tf.maximum(tf.bitwise.right_shift(bits, 23) - 126, -100)


def exp2(e):
  """2^e as float32, exact, for int32 -126 <= e <= 127; of a Python number as
  one, which needs no operations."""
  if isinstance(e, int):
    return 2.0**e
  return tf.bitcast(tf.bitwise.left_shift(e + 127, 23), tf.float32)


def _split(x, kind, bits, frac):
  """Codes, f, and between which bounds the gradient passes."""

  def fix():
    codes, lo, hi = _on_grid(x, bits, frac)
    return codes, frac, (lo * exp2(-frac), hi * exp2(-frac))

  def scaled():
    f = bits - 1 - exponent_above(tf.reduce_max(tf.abs(x)))
    return _on_grid(x, bits, f)[0], f, _everywhere()

  branches = [fix, scaled, lambda: _ternary(x), lambda: _binary(x)]
  return pick(kind, branches)


def _passed(x, dy, kind, bounds):
  """dy where x lies between the bounds. What has its scale from the tensor has
  none; a kind that is known only when the graph runs may have some."""
  if not tf.is_tensor(kind) and KINDS[kind] not in ("fix", "binary"):
    return dy
  inside = (x >= bounds[0]) & (x <= bounds[1])
  return dy * tf.cast(inside, dy.dtype)  # faster than tf.where


def _everywhere():
  return tf.constant(-math.inf), tf.constant(math.inf)


def _on_grid(x, bits, f):
  half = exp2(bits - 1)
  codes = tf.round(x * exp2(f))
  return tf.clip_by_value(codes, -half, half - 1), -half, half - 1


def _ternary(x):
  size = tf.abs(x)
  above = tf.cast(size > 0.7 * tf.reduce_mean(size), tf.float32)
  mean = tf.math.divide_no_nan(
    tf.reduce_sum(size * above), tf.reduce_sum(above)
  )
  return tf.sign(x) * above, _next_to(mean), _everywhere()


def _binary(x):
  mean, one = tf.reduce_mean(tf.abs(x)), tf.constant(1.0)
  return tf.where(x >= 0, 1.0, -1.0), _next_to(mean), (-one, one)


def _next_to(scale):
  """f with 2^-f the power of two next to `scale` on a logarithmic axis."""
  e = exponent_above(scale)
  return tf.where(scale * exp2(-e) < 2.0**-0.5, 1 - e, -e)


def _to_options(x, dy, formats):
  """[K]: <dy, x in each of the formats>, from a sample of the elements."""
  largest = tf.reduce_max(tf.abs(x))
  x, dy = tf.reshape(x, [-1]), tf.reshape(dy, [-1])
  # Odd, so that all columns of a matrix are met.
  stride = tf.bitwise.bitwise_or(tf.size(x) // _SAMPLE, 1)
  x, dy = x[::stride], dy[::stride]
  grids = [fmt for fmt in formats if fmt.kind in ("fix", "scaled")]
  bits = tf.constant([fmt.bits for fmt in grids])
  frac = tf.where(
    [fmt.kind == "fix" for fmt in grids],
    [fmt.frac for fmt in grids],
    bits - 1 - exponent_above(largest),
  )
  codes, *_ = _on_grid(x[:, None], bits, frac)  # [S, K], all at once
  products = tf.linalg.matvec(codes, dy, transpose_a=True) * exp2(-frac)
  found = iter(tf.unstack(products, len(grids)))
  each = [
    next(found) if fmt in grids else tf.tensordot(dy, _values(x, fmt), 1)
    for fmt in formats
  ]
  return tf.cast(stride, tf.float32) * tf.stack(each)


def _values(x, fmt):
  codes, f = split(x, fmt)
  return codes * exp2(-f)
