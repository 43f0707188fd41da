import pytest

from qinit import errors

EVERY_ERROR = [
  e
  for e in vars(errors).values()
  if isinstance(e, type) and issubclass(e, Exception)
]


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_every_error_is_a_qinit_error(error):
  # What the commands turn into one sentence and exit code 2.
  assert issubclass(error, errors.QinitError)
  assert issubclass(error, ValueError)
  assert error.__doc__


def test_one_of_returns_what_is_allowed():
  assert errors.one_of("init", "a", {"a": 1, "b": 2}) == "a"


@pytest.mark.parametrize(
  "value, message",
  [
    (
      "he_unifrom",
      "unknown init 'he_unifrom': did you mean he_uniform or he_normal?",
    ),
    ("glorot", "unknown init 'glorot': did you mean glorot_normal?"),
    (
      "xyz",
      "unknown init 'xyz': choose from he_uniform, he_normal, glorot_normal",
    ),
    ("", "unknown init '': choose from he_uniform, he_normal, glorot_normal"),
  ],
)
def test_one_of_names_what_is_near(value, message):
  allowed = ("he_uniform", "he_normal", "glorot_normal")
  with pytest.raises(errors.QinitError) as caught:
    errors.one_of("init", value, allowed)
  assert str(caught.value) == message


def test_one_of_raises_the_kind_asked_for():
  with pytest.raises(errors.SpecError):
    errors.one_of("padding", "valid", ("same",), errors.SpecError)


def test_one_of_takes_a_generator():
  with pytest.raises(errors.QinitError, match="choose from a, b"):
    errors.one_of("x", "zzz", (name for name in "ab"))
