"""Random shift, zoom, rotation and flips as one affine transform a batch."""

import dataclasses
import math

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """Amounts; the paper (Section 3.1) names the kinds only.

  Attributes:
    shift: largest shift, a share of height and width.
    zoom: largest change of scale.
    rotation: largest angle in degrees.
    flips: mirror left-right and top-bottom, each with probability 1/2.
  """

  shift: float = 0.1
  zoom: float = 0.1
  rotation: float = 15.0
  flips: bool = True


def augment(images, augmentation: Augmentation, seed):
  """Transforms each of `images` [B, H, W, C] (float) on its own.

  Bilinear; pixels from outside repeat the edge.

  Args:
    seed: two integers; the same seed gives the same images.
  """
  batch, height, width = tf.unstack(tf.shape(images)[:3])
  transforms = _transforms(
    augmentation,
    tf.random.stateless_uniform([batch, 6], seed, -1.0, 1.0),
    tf.cast([height, width], tf.float32),
  )
  return tf.raw_ops.ImageProjectiveTransformV3(
    images=images,
    transforms=transforms,
    output_shape=tf.stack([height, width]),
    interpolation="BILINEAR",
    fill_mode="NEAREST",
    fill_value=0.0,
  )


def _transforms(augmentation, noise, size):
  """Rows [a0 a1 a2 b0 b1 b2 0 0]: output pixel -> input pixel.

  A rotation and scaling about the centre c, then a shift t:
  in = R (out - c) + c + t.
  """
  angle = noise[:, 0] * math.radians(augmentation.rotation)
  zoom = 1.0 + noise[:, 1:2] * augmentation.zoom
  shift = noise[:, 2:4] * augmentation.shift * size
  flip = tf.ones([1, 2])
  if augmentation.flips:  # not tf.sign: it is 0 at 0
    flip = tf.where(noise[:, 4:6] < 0.0, -1.0, 1.0)
  rows = tf.stack([tf.cos(angle), -tf.sin(angle)], 1) * zoom * flip[:, :1]
  columns = tf.stack([tf.sin(angle), tf.cos(angle)], 1) * zoom * flip[:, 1:]
  centre = (size[::-1] - 1.0) / 2.0
  offsets = (
    centre
    + shift[:, ::-1]
    - tf.stack(
      [tf.linalg.matvec(rows, centre), tf.linalg.matvec(columns, centre)], 1
    )
  )
  zeros = tf.zeros_like(rows)
  return tf.concat([rows, offsets[:, :1], columns, offsets[:, 1:], zeros], 1)
