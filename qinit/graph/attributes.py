"""What the attributes of an op may be."""

import dataclasses

from qinit.errors import SpecError, one_of

_CHOICES = {
  "padding": ("same", "symmetric"),
  "kind": ("max", "avg"),
  "order": ("hwc", "chw"),
}
_ODD = ("kernel_size", "size")
_LARGEST = 1 << 20


def checked(op: str, field: dataclasses.Field, value):
  """`value` in the form that attribute `field` of row `op` keeps: one integer
  for a pair becomes two, lists become tuples.

  Raises:
    SpecError: naming the attribute.
  """
  where = f"{op}.{field.name}"
  if field.name in _CHOICES:
    if not isinstance(value, str):
      raise SpecError(f"{where} must be a name, not {value!r}")
    return one_of(where, value, _CHOICES[field.name], SpecError)
  if field.type is bool:
    if not isinstance(value, bool):
      raise SpecError(f"{where} must be true or false, not {value!r}")
    return value
  if field.type is float:
    return _fraction(where, value)
  if field.type is int:
    return _integer(where, value, field.name)
  if isinstance(value, int):
    value = (value, value)
  if not isinstance(value, list | tuple) or len(value) != 2:
    raise SpecError(f"{where} must be one or two integers, not {value!r}")
  return tuple(_integer(where, v, field.name) for v in value)


def _integer(where, value, name):
  least = 0 if name in ("offset", "ceiling") else 1
  if not isinstance(value, int) or isinstance(value, bool):
    raise SpecError(f"{where} must be an integer, not {value!r}")
  if not least <= value <= _LARGEST:
    raise SpecError(f"{where} must be in {least}..{_LARGEST}, not {value}")
  if name in _ODD and value % 2 == 0:
    raise SpecError(f"{where} must be odd, not {value}")
  return value


def _fraction(where, value):
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise SpecError(f"{where} must be a number, not {value!r}")
  if not 0 <= value < 1:
    raise SpecError(f"{where} must be at least 0 and below 1, not {value}")
  return float(value)
