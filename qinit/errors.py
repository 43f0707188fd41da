"""Errors that a user can mend: one sentence each that names the remedy."""


class QinitError(ValueError):
  """Bad input. The message is one sentence fit to be shown as it stands."""


class SpecError(QinitError):
  """A network description that is not a valid network."""


class DataError(QinitError):
  """A data set that is missing, truncated or of another kind."""


class CheckpointError(QinitError):
  """A file of weights that is damaged, foreign or of the wrong shape."""


class RunError(QinitError):
  """A run folder that is damaged or belongs to other settings."""


class QuantError(QinitError):
  """A network that cannot be quantised as it stands."""


class ExportError(QinitError):
  """A network that cannot be written in the form asked for."""


class RefusedError(ExportError):
  """A file that LiteRT does not take."""


def one_of(what: str, value: str, allowed, error=QinitError) -> str:
  """Returns `value` if it is in `allowed`, else raises `error`, which names
  those near it."""
  import difflib

  allowed = list(allowed)
  if value in allowed:
    return value
  near = difflib.get_close_matches(str(value), allowed, n=3, cutoff=0.4)
  hint = f"did you mean {' or '.join(near)}?"
  if not near:
    hint = f"choose from {', '.join(allowed)}"
  raise error(f"unknown {what} {value!r}: {hint}")
