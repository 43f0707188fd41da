"""The goal at two bits: better than chance on unseen networks."""

from collections.abc import Sequence

from qinit.record import Record
from qinit.report import ghn_cells, ghn_means

_BITS, _SPLIT = "w2a2", "test"
_ERRORS = 3  # standard errors above chance
_SPECIFIED, _CONTINUED = "ghn-qat-w2a2", "ghn-qat-percentile-w2a2"


def sentences(records: Sequence[Record]) -> str:
  """Which hypernetworks meet the goal and which miss it; "" where none was
  evaluated there."""
  missed, met = _judged(ghn_cells.by_cell(records))
  if not missed and not met:
    return ""
  return (
    f"The goal at {ghn_cells.width_name(_BITS)} is a mean above chance by more"
    f" than {_ERRORS} standard errors, on {ghn_cells.SPLITS[_SPLIT]}. In points"
    " above chance, and in brackets standard errors, missed:"
    f" {', '.join(missed) or 'by none'}; met: {', '.join(met) or 'by none'}."
    f"{_how_trained(missed, met)}"
  )


def _judged(found):
  """Those that miss it and those that meet it, with their distances; without
  controls, which it is not for."""
  missed, met = [], []
  for (ghn, bits, clip, split), metrics in found.items():
    above = ghn_means.above_chance(metrics)
    if (bits, split) != (_BITS, _SPLIT) or ghn_cells.is_control(ghn):
      continue
    if len(above) > 1:
      mean, error = ghn_means.sample_error(above)
      told = (
        f"{ghn}{ghn_cells.clip_name(clip)} {ghn_means.from_chance(metrics)}"
      )
      (met if mean > _ERRORS * error else missed).append(told)
  return missed, met


def _how_trained(missed, met):
  """That of the two trainings with noise the specified one misses it, where
  nothing but the other meets it."""
  specified = any(told.startswith(f"{_SPECIFIED} ") for told in missed)
  continued = [told.startswith(f"{_CONTINUED} ") for told in met]
  if not specified or not continued or not all(continued):
    return ""
  return (
    f" {_SPECIFIED}, trained by NoiseQuant as specified, misses it; only"
    f" {_CONTINUED}, which went on from it with percentile clipping, meets it."
  )
