"""Node features: primitive and shape (spec: Section 3 of GHN-2's code).

x0(v) = E_prim[primitive] + [E_ch[O], E_ch[I], E_sp[kh], E_sp[kw]], where each
size is looked up as the nearest entry of a table.
"""

import functools

import numpy as np
import tensorflow as tf

_LARGEST_CHANNELS = 8192
_LARGEST_KERNEL = 16
MOST_BITS = 8
SCHEMES = 2  # affine and logarithmic


def channel_values(num_classes: int) -> np.ndarray:
  """The channel counts that have a row of their own, ascending."""
  values = {1, 3, num_classes, *range(8, 64, 8), *range(64, 4096, 16)}
  return np.array(sorted(values | set(range(4096, 8193, 32))))


def spatial_values(largest_kernel: int) -> np.ndarray:
  """The kernel sizes that have a row of their own, ascending."""
  odd = range(1, max(12, largest_kernel), 2)
  return np.array(sorted({*odd, 14, 16}))


def shape_indices(
  shapes: np.ndarray, num_classes: int, largest_kernel: int
) -> np.ndarray:
  """Rows [N, 4] of the tables for shapes [N, 4] (O, I, kh, kw).

  A node without a shape (zeros) gets the dummy row behind each table. What is
  not in a table takes the nearest entry, the smaller one of two; by the
  reference's rule 4..7 channels take 8 and a kernel of 2 takes 3.
  """
  channels = _channel_lookup(num_classes)
  spatial = _spatial_lookup(largest_kernel)
  clipped = np.minimum(shapes, [_LARGEST_CHANNELS] * 2 + [_LARGEST_KERNEL] * 2)
  return np.concatenate(
    [channels[clipped[:, :2]], spatial[clipped[:, 2:]]], axis=1
  )


def node_features(weights: dict, primitive, indices, bits) -> tf.Tensor:
  """x0 [N, hid] from primitive ids [N], table rows [N, 4] and, if they are
  features, `bits` [N, 3]: those of weights and activations, 0 for float, and
  the scheme: x0 + E_w[bits of weights] + E_a[bits of activations] + E_s[scheme]
  (Section 4.4 of Starting Positions Matter proposes it)."""
  channels = tf.gather(
    weights["shape_enc.embed_channel.weight"], indices[:, :2]
  )
  spatial = tf.gather(weights["shape_enc.embed_spatial.weight"], indices[:, 2:])
  kinds = tf.gather(weights["embed.weight"], primitive)
  sizes = tf.concat([channels, spatial], 1)
  x = kinds + tf.reshape(sizes, tf.shape(kinds))
  for column, kind in enumerate(("weights", "activations", "scheme")):
    if f"width.{kind}" in weights:
      x += tf.gather(weights[f"width.{kind}"], bits[:, column])
  return x


@functools.cache
def _channel_lookup(num_classes):
  values = channel_values(num_classes)
  special = {n: 8 for n in range(4, 8) if n not in values}
  return _lookup(values, _LARGEST_CHANNELS, special)


@functools.cache
def _spatial_lookup(largest_kernel):
  return _lookup(spatial_values(largest_kernel), _LARGEST_KERNEL, {2: 3})


def _lookup(values, largest, special):
  """For each size 0..largest its row; 0 (no shape) has the row behind all."""
  sizes = np.arange(largest + 1)
  for size, entry in special.items():
    sizes[size] = entry
  # argmin takes the first, hence the smaller, of two nearest entries.
  rows = np.abs(sizes[:, None] - values[None]).argmin(1)
  rows[0] = len(values)
  return rows.astype(np.int32)
