"""What a study's settings change against the paper."""

import pytest

from qinit.report.departures import departures


@pytest.mark.parametrize(
  "setting, value, words",
  [
    ("dataset", "digits", "digits, not CIFAR-10"),
    ("epochs", 60, "60 epochs, not 200"),
    ("width", 0.5, "multiplied by 0.5"),
    ("batch_size", 64, "64 images, not 128"),
    ("calibration_images", 512, "512 training images, not 1024"),
    ("clip_percentile", 0.0, "clipped by 0 % a side, not by 1 %"),
  ],
)
def test_each_setting_that_departs_is_named(setting, value, words):
  assert words not in " ".join(departures({}))
  assert words in " ".join(departures({setting: value}))


def test_the_papers_settings_depart_in_nothing_but_the_images():
  (only,) = departures({})
  assert "JPEG" in only
