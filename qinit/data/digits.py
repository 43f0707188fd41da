"""The 1,797 handwritten digits that ship inside scikit-learn: real images
without a download, for quick runs and tests."""

import numpy as np

from qinit.data.augment import Augmentation
from qinit.data.dataset import Dataset

_TEST_SHARE = 0.2


def dataset() -> Dataset:
  """8x8 digits enlarged to 32x32x3; every fifth at random is a test image.

  No flips: a mirrored digit is another sign.
  """
  from sklearn.datasets import load_digits

  digits = load_digits()
  images = np.kron(digits.images, np.ones((4, 4))) * (255 / 16)
  images = np.repeat(images.round().astype(np.uint8)[..., None], 3, axis=-1)
  labels = digits.target.astype(np.int64)
  order = np.random.Generator(np.random.Philox(0)).permutation(len(labels))
  test, train = np.split(order, [round(_TEST_SHARE * len(labels))])
  return Dataset(
    "digits",
    images[train],
    labels[train],
    images[test],
    labels[test],
    augmentation=Augmentation(flips=False),
  )
