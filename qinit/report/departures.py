"""Where the study departs from Section 3 of the paper, or had to choose."""

_JPEG = (
  "The published rows were made from a copy of CIFAR-10 that holds all 60,000"
  " images as JPEG of quality 75, so absolute accuracies may differ from those"
  " on the original (a small network scored 58.7 % on a thousand of the JPEG"
  " test images and 60.6 % on the same images lossless). TFDS downloads the"
  " original."
)
CHOICES = (
  "The paper draws its networks without widths: here a 3x3 convolution to 32"
  " channels, six VGG-like blocks (64, 64, 128, 128, 256, 256) or four stages"
  " of two residual blocks (32, 64, 128, 256), global average pooling and a"
  " hidden dense layer of 128. Dropout follows that layer, not the logits.",
  "Strided convolutions halve the images, not pooling; where a residual block"
  " changes the shape, its shortcut is a 1x1 convolution with the initialiser"
  " under study. All activations are ReLU, not ReLU6. Convolutions have a bias"
  " only where no BatchNorm follows; images are scaled to [0, 1].",
  "The amounts of augmentation are not given: shifts and zoom of 10 %,"
  " rotation of 15 degrees and both flips are used. There is no weight decay.",
  "Quantised are the image, every tensor behind a ReLU, sums of residual"
  " blocks, linear bottlenecks, the global average and the logits, each per"
  " tensor, and every kernel per tensor after BatchNorm is folded.",
  "Clipping is per side and over all calibration images together; logits keep"
  " their absolute range, and weights theirs.",
  "QUINT8 accuracy is that of an integer-exact simulation of LiteRT with"
  " XNNPACK, int32 biases included; QMSE and QCE are taken on logits.",
  "A training counts as diverged when its loss is not finite, when it is right"
  " on less than 15 % of the training images after ten epochs (after half of"
  " them, if there are fewer than twenty), or at the end on less than 12 % of"
  " the test images. Such cells stay in the tables, flagged; the paper omits"
  " them.",
  "Means are over the seeds that trained; the paper has one seed.",
)


def departures(settings: dict) -> tuple[str, ...]:
  """What these settings change, a sentence each."""
  return tuple(_from_settings(settings))


def _from_settings(settings):
  epochs, width = settings.get("epochs", 200), settings.get("width", 1.0)
  images = settings.get("calibration_images", 1024)
  batch = settings.get("batch_size", 128)
  clip = settings.get("clip_percentile", 1.0)
  if settings.get("dataset", "cifar10") == "cifar10":
    yield _JPEG
  else:
    yield f"The data are {settings['dataset']}, not CIFAR-10: a demonstration."
  if epochs != 200:
    yield (
      f"Training lasts {epochs} epochs, not 200; the learning rate falls at"
      " the same shares of training."
    )
  if width != 1.0:
    yield f"All channel counts are multiplied by {width:g}."
  if batch != 128:
    yield f"Training batches hold {batch} images, not 128."
  if images != 1024:
    yield f"Ranges come from {images} training images, not 1024."
  if clip != 1.0:
    yield f"Activations are clipped by {clip:g} % a side, not by 1 %."
