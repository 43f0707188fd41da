"""Integer arithmetic of the exported networks. The tables are made once, from
a formula alone; everything else is int64."""

import functools
import math
from collections.abc import Callable

import numpy as np

from qinit.lpgnas.formats import Format, parse
from qinit.lpgnas.space import SCORE

_SCORE = parse(SCORE)
# Fraction bits of exponentials, reciprocal roots and reciprocals.
_ONE = 30
# Bits of an int64 without its sign.
_WIDTH = 63


def divide(a: np.ndarray, b) -> np.ndarray:
  """a / b for b > 0, rounded to the nearest whole number, ties to even."""
  quotient = a // b
  rest = a - quotient * b
  up = (2 * rest > b) | ((2 * rest == b) & (quotient % 2 == 1))
  return quotient + up


def rescale(a: np.ndarray, f: int, to: int, divisor=1) -> np.ndarray:
  """Codes with `to` fraction bits of a / divisor, a with `f`; the ends of
  int64 where they have no room in it."""
  divisor = np.asarray(divisor, np.int64)
  widest = max(_bits(a) + to - f, _bits(divisor) + f - to + 1)
  if widest > _WIDTH:  # unlike what networks hold: Python's integers
    a, divisor = a.astype(object), divisor.astype(object)
  found = divide(a << max(to - f, 0), divisor << max(f - to, 0))
  if widest > _WIDTH:
    found = np.clip(found, -(2**_WIDTH), 2**_WIDTH - 1).astype(np.int64)
  return found


def clip(codes: np.ndarray, fmt: Format) -> np.ndarray:
  """Codes that the format has."""
  return np.clip(codes, *fmt.range)


def add(terms: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
  """The sum of (codes, fraction bits), with the most fraction bits of all, or
  with as many as leave the largest term room in an int64."""
  rooms = (_WIDTH - 1 - _bits(c) + f for c, f in terms if c.any())
  most = min([max(f for _, f in terms), *rooms])
  aligned = (rescale(codes, f, most) for codes, f in terms)
  return functools.reduce(np.add, aligned), most


def _bits(codes):
  """Of the largest absolute value."""
  return int(np.abs(codes).max(initial=0)).bit_length()


def score(a: np.ndarray, f: int) -> np.ndarray:
  """Scores as fix8.8."""
  return clip(rescale(a, f, _SCORE.frac), _SCORE)


def look_up(name: str, scores: np.ndarray) -> np.ndarray:
  """tanh or leaky_relu of fix8.8, in fix8.8."""
  return table(name, _SCORE, _SCORE.frac, _SCORE, _SCORE.frac)[
    scores - _SCORE.range[0]
  ]


@functools.lru_cache(64)
def table(name: str, of: Format, f_of: int, to: Format, f_to: int):
  """The codes of an activation for every code of `of`, from the least on."""
  codes = np.arange(of.range[0], of.range[1] + 1)
  values = ACTIVATIONS[name](np.ldexp(codes.astype(np.float64), -f_of))
  found = np.rint(np.ldexp(values, f_to)).astype(np.int64)
  return clip(found, to)


def softmax(scores: np.ndarray, offsets: np.ndarray, f: int) -> np.ndarray:
  """Codes with `f` fraction bits of exp(s) over its sum, of scores [E, H] in
  fix8.8 and segments that begin at `offsets`: a table of exponentials and one
  reciprocal per segment."""
  lengths = np.diff(np.append(offsets, len(scores)))
  largest = np.repeat(np.maximum.reduceat(scores, offsets), lengths, 0)
  powers = _powers()[np.minimum(largest - scores, len(_powers()) - 1)]
  total = np.add.reduceat(powers, offsets)
  reciprocal = np.repeat((1 << 2 * _ONE) // total, lengths, 0)
  return rescale(powers * reciprocal, 2 * _ONE, f)


def reciprocal_roots(degree: np.ndarray) -> np.ndarray:
  """2^30 / sqrt(d), rounded down."""
  known = {d: math.isqrt((1 << 2 * _ONE) // d) for d in set(degree.tolist())}
  return np.array([known[d] for d in degree.tolist()], np.int64)


@functools.cache
def _powers():
  """2^30 exp(-x) for x = 0, 1/256, 2/256 ..."""
  x = np.arange(1 << 14) / (1 << _SCORE.frac)
  return np.rint(np.ldexp(np.exp(-x), _ONE)).astype(np.int64)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "none": lambda x: x,
  "relu": lambda x: np.maximum(x, 0),
  "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
  "relu6": lambda x: np.clip(x, 0, 6),
  "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
  "tanh": np.tanh,
  "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
  "softplus": lambda x: np.logaddexp(0, x),
}
