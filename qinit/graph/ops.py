"""The op table: the one place where an operation is defined.

Each row is a frozen dataclass. It says which shape it makes (`output_shape`),
which parameters it owns (`param_shapes`), which nodes a hypernetwork sees
(`primitives`), how it is trained (`keras_layer`) and how it runs with its
parameters given as tensors (`apply`). Shapes are without the batch axis:
`(H, W, C)` or `(C,)`. TensorFlow is imported only when an op runs.
"""

import dataclasses
import typing

from qinit.errors import SpecError
from qinit.graph.attributes import checked

Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Primitive:
  """A node of the hypernetwork's graph: its name in the vocabulary, the roles
  of the parameters that it fills and its 4-D shape (O, I, kh, kw) if any."""

  name: str
  roles: tuple[str, ...] = ()
  shape: Shape | None = None


@dataclasses.dataclass(frozen=True)
class Op:
  """Base row: one input, shape kept, no parameters, no hypernetwork node."""

  arity: typing.ClassVar[int | None] = 1  # None: two or more
  name: typing.ClassVar[str] = ""

  def __post_init__(self):
    for field in dataclasses.fields(self):
      object.__setattr__(
        self, field.name, checked(self.name, field, getattr(self, field.name))
      )

  def output_shape(self, *shapes: Shape) -> Shape:
    return shapes[0]

  def param_shapes(self, *shapes: Shape) -> dict[str, Shape]:
    return {}

  def primitives(self, *shapes: Shape) -> tuple[Primitive, ...]:
    return ()

  def keras_layer(self, name: str):
    from qinit.graph import layers

    return layers.OpLayer(self, name=name)

  def apply(self, params, *inputs, training=False, seed=None):
    raise NotImplementedError

  def to_dict(self) -> dict:
    """`{"op": name, attribute: value, ...}`, without the default values."""
    return {"op": self.name} | {
      f.name: _plain(getattr(self, f.name))
      for f in dataclasses.fields(self)
      if getattr(self, f.name) != f.default
    }


@dataclasses.dataclass(frozen=True)
class _Window(Op):
  """What slides over `[H, W]`. Kernels are odd, so both paddings give
  ceil(H / stride); `symmetric` pads k // 2 on either side as PyTorch does."""

  def _slide(self, shape: Shape, strides: Pair) -> Pair:
    h, w, _ = _image(self, shape)
    return -(-h // strides[0]), -(-w // strides[1])


@dataclasses.dataclass(frozen=True)
class Conv(_Window):
  """2-D convolution, kernel [kh, kw, C, filters]."""

  name: typing.ClassVar[str] = "conv"
  filters: int = 1
  kernel_size: Pair = (3, 3)
  strides: Pair = (1, 1)
  dilation: int = 1
  padding: str = "same"
  use_bias: bool = False

  def output_shape(self, *shapes):
    return (*self._slide(shapes[0], self.strides), self.filters)

  def param_shapes(self, *shapes):
    kernel = (*self.kernel_size, _image(self, shapes[0])[2], self.filters)
    bias = {"bias": (self.filters,)} if self.use_bias else {}
    return {"kernel": kernel, **bias}

  def primitives(self, *shapes):
    kh, kw, c, o = self.param_shapes(*shapes)["kernel"]
    kernel = Primitive("conv", ("kernel",), (o, c, kh, kw))
    return (kernel, *_bias_primitive(self, o))

  def keras_layer(self, name):
    import tf_keras

    from qinit.graph import layers

    common = {"padding": "same", "use_bias": self.use_bias, "name": name}
    same = self.padding == "same" or self.strides == (1, 1)
    if same and self.dilation == 1:
      return tf_keras.layers.Conv2D(
        self.filters, self.kernel_size, self.strides, **common
      )
    return layers.ExactConv2D(
      self.filters,
      self.kernel_size,
      self.strides,
      table_padding=self.padding,
      taps=self.dilation,
      **common,
    )

  def apply(self, params, x, training=False, seed=None):
    from qinit.graph import kernels

    y = kernels.conv2d(
      x, params["kernel"], self.strides, self.dilation, self.padding
    )
    return _add_bias(y, params)


@dataclasses.dataclass(frozen=True)
class DepthwiseConv(_Window):
  """One kernel per channel, [kh, kw, C, 1]."""

  name: typing.ClassVar[str] = "depthwise_conv"
  kernel_size: Pair = (3, 3)
  strides: Pair = (1, 1)
  dilation: int = 1
  padding: str = "same"
  use_bias: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.strides[0] != self.strides[1]:
      raise SpecError("depthwise_conv needs the same stride in both directions")

  def output_shape(self, *shapes):
    return (*self._slide(shapes[0], self.strides), shapes[0][2])

  def param_shapes(self, *shapes):
    channels = _image(self, shapes[0])[2]
    bias = {"bias": (channels,)} if self.use_bias else {}
    return {"depthwise_kernel": (*self.kernel_size, channels, 1), **bias}

  def primitives(self, *shapes):
    name = "dil_conv" if self.dilation > 1 else "sep_conv"
    shape = (shapes[0][2], 1, *self.kernel_size)
    kernel = Primitive(name, ("depthwise_kernel",), shape)
    return (kernel, *_bias_primitive(self, shapes[0][2]))

  def keras_layer(self, name):
    import tf_keras

    from qinit.graph import layers

    common = {"padding": "same", "use_bias": self.use_bias, "name": name}
    same = self.padding == "same" or self.strides == (1, 1)
    if same and self.dilation == 1:
      return tf_keras.layers.DepthwiseConv2D(
        self.kernel_size, self.strides, **common
      )
    return layers.ExactDepthwiseConv2D(
      self.kernel_size,
      self.strides,
      table_padding=self.padding,
      taps=self.dilation,
      **common,
    )

  def apply(self, params, x, training=False, seed=None):
    from qinit.graph import kernels

    kernel = params["depthwise_kernel"]
    y = kernels.depthwise_conv2d(
      x, kernel, self.strides, self.dilation, self.padding
    )
    return _add_bias(y, params)


@dataclasses.dataclass(frozen=True)
class BatchNorm(Op):
  """gamma (x - mean) / sqrt(variance + epsilon) + beta, per channel."""

  name: typing.ClassVar[str] = "batch_norm"
  epsilon: float = 1e-3
  momentum: float = 0.99

  def param_shapes(self, *shapes):
    channels = (shapes[0][-1],)
    roles = ("gamma", "beta", "moving_mean", "moving_variance")
    return dict.fromkeys(roles, channels)

  def primitives(self, *shapes):
    shape = (shapes[0][-1], 1, 1, 1)
    return (Primitive("bn", ("gamma", "beta"), shape),)

  def keras_layer(self, name):
    import tf_keras

    return tf_keras.layers.BatchNormalization(
      momentum=self.momentum, epsilon=self.epsilon, name=name
    )

  def apply(self, params, x, training=False, seed=None):
    from qinit.graph import kernels

    use_batch = training or "moving_mean" not in params
    moving = () if use_batch else ("moving_mean", "moving_variance")
    return kernels.batch_norm(
      x,
      params["gamma"],
      params["beta"],
      *(params[role] for role in moving),
      epsilon=self.epsilon,
    )


@dataclasses.dataclass(frozen=True)
class Relu(Op):
  """max(x, 0), and min(max(x, 0), ceiling) with a ceiling (6 for a ReLU6)."""

  name: typing.ClassVar[str] = "relu"
  ceiling: int = 0

  def keras_layer(self, name):
    import tf_keras

    return tf_keras.layers.ReLU(self.ceiling or None, name=name)

  def apply(self, params, x, training=False, seed=None):
    import tensorflow as tf

    y = tf.nn.relu(x)
    return tf.minimum(y, float(self.ceiling)) if self.ceiling else y


@dataclasses.dataclass(frozen=True)
class Pool(_Window):
  """Max or average pooling over a square window."""

  name: typing.ClassVar[str] = "pool"
  kind: str = "max"
  size: int = 3
  stride: int = 1
  padding: str = "same"

  def output_shape(self, *shapes):
    return (*self._slide(shapes[0], (self.stride,) * 2), shapes[0][2])

  def primitives(self, *shapes):
    return (Primitive(f"{self.kind}_pool", (), (1, 1, self.size, self.size)),)

  def keras_layer(self, name):
    import tf_keras

    if self.padding == "symmetric" and self.stride > 1:
      return super().keras_layer(name)
    layers = tf_keras.layers
    cls = layers.MaxPool2D if self.kind == "max" else layers.AvgPool2D
    return cls(self.size, self.stride, "same", name=name)

  def apply(self, params, x, training=False, seed=None):
    from qinit.graph import kernels

    return kernels.pool2d(x, self.kind, self.size, self.stride, self.padding)


@dataclasses.dataclass(frozen=True)
class Add(Op):
  """Sum of two or more tensors of one shape."""

  name: typing.ClassVar[str] = "add"
  arity: typing.ClassVar[int | None] = None

  def output_shape(self, *shapes):
    if len(set(shapes)) > 1:
      raise SpecError(f"add needs inputs of one shape, not {shapes}")
    return shapes[0]

  def primitives(self, *shapes):
    return (Primitive("sum"),)

  def keras_layer(self, name):
    import tf_keras

    return tf_keras.layers.Add(name=name)

  def apply(self, params, *inputs, training=False, seed=None):
    # Pairwise: tf.add_n becomes a float op in a quantised TFLite file.
    return sum(inputs[1:], inputs[0])


@dataclasses.dataclass(frozen=True)
class Concat(Op):
  """Concatenation of two or more tensors along the channels."""

  name: typing.ClassVar[str] = "concat"
  arity: typing.ClassVar[int | None] = None

  def output_shape(self, *shapes):
    if len({s[:-1] for s in shapes}) > 1:
      raise SpecError(f"concat needs inputs of one height and width: {shapes}")
    return (*shapes[0][:-1], sum(s[-1] for s in shapes))

  def primitives(self, *shapes):
    return (Primitive("concat"),)

  def keras_layer(self, name):
    import tf_keras

    return tf_keras.layers.Concatenate(name=name)

  def apply(self, params, *inputs, training=False, seed=None):
    import tensorflow as tf

    return tf.concat(inputs, -1)


@dataclasses.dataclass(frozen=True)
class GlobalPool(Op):
  """Mean over height and width: [H, W, C] -> [C]."""

  name: typing.ClassVar[str] = "global_pool"

  def output_shape(self, *shapes):
    return (_image(self, shapes[0])[2],)

  def primitives(self, *shapes):
    return (Primitive("glob_avg"),)

  def keras_layer(self, name):
    import tf_keras

    return tf_keras.layers.GlobalAveragePooling2D(name=name)

  def apply(self, params, x, training=False, seed=None):
    import tensorflow as tf

    return tf.reduce_mean(x, [1, 2])


@dataclasses.dataclass(frozen=True)
class Flatten(Op):
  """[H, W, C] -> [H W C], in the order `hwc` (TF) or `chw` (PyTorch)."""

  name: typing.ClassVar[str] = "flatten"
  order: str = "hwc"

  def output_shape(self, *shapes):
    h, w, c = _image(self, shapes[0])
    return (h * w * c,)

  def keras_layer(self, name):
    import tf_keras

    if self.order == "chw":
      return super().keras_layer(name)
    return tf_keras.layers.Flatten(name=name)

  def apply(self, params, x, training=False, seed=None):
    import tensorflow as tf

    x = tf.transpose(x, [0, 3, 1, 2]) if self.order == "chw" else x
    return tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]])


@dataclasses.dataclass(frozen=True)
class Dense(Op):
  """x W + b, kernel [C, units]."""

  name: typing.ClassVar[str] = "dense"
  units: int = 1

  def output_shape(self, *shapes):
    return (self.units,)

  def param_shapes(self, *shapes):
    if len(shapes[0]) != 1:
      raise SpecError(f"dense needs a flat input, not one of shape {shapes[0]}")
    return {"kernel": (shapes[0][0], self.units), "bias": (self.units,)}

  def primitives(self, *shapes):
    shape = (self.units, shapes[0][0], 1, 1)
    bias = Primitive("bias", ("bias",), (self.units, 1, 1, 1))
    return (Primitive("conv", ("kernel",), shape), bias)

  def keras_layer(self, name):
    import tf_keras

    return tf_keras.layers.Dense(self.units, name=name)

  def apply(self, params, x, training=False, seed=None):
    import tensorflow as tf

    return tf.nn.bias_add(tf.matmul(x, params["kernel"]), params["bias"])


@dataclasses.dataclass(frozen=True)
class Dropout(Op):
  """Zeroes a share `rate` of the values in training, scales up the rest."""

  name: typing.ClassVar[str] = "dropout"
  rate: float = 0.5

  def keras_layer(self, name):
    from qinit.graph import layers

    return layers.CheckpointedDropout(self.rate, name=name)

  def apply(self, params, x, training=False, seed=None):
    import tensorflow as tf

    if not training:
      return x
    if seed is None:
      raise ValueError("dropout in training needs a seed")
    return tf.nn.experimental.stateless_dropout(x, self.rate, seed)


@dataclasses.dataclass(frozen=True)
class Slice(Op):
  """x[:, offset::stride, offset::stride]."""

  name: typing.ClassVar[str] = "slice"
  offset: int = 0
  stride: int = 1

  def output_shape(self, *shapes):
    h, w, c = _image(self, shapes[0])
    if min(h, w) <= self.offset:
      raise SpecError(
        f"slice at offset {self.offset} leaves nothing of {h}x{w}"
      )
    return (*(-(-(n - self.offset) // self.stride) for n in (h, w)), c)

  def apply(self, params, x, training=False, seed=None):
    return x[:, self.offset :: self.stride, self.offset :: self.stride]


@dataclasses.dataclass(frozen=True)
class Zero(Op):
  """Zeros in the height and width of the input; stands for an absent state."""

  name: typing.ClassVar[str] = "zero"
  channels: int = 1

  def output_shape(self, *shapes):
    return (*_image(self, shapes[0])[:2], self.channels)

  def apply(self, params, x, training=False, seed=None):
    import tensorflow as tf

    y = tf.zeros([*tf.unstack(tf.shape(x)[:3]), self.channels], x.dtype)
    y.set_shape([*x.shape[:3], self.channels])  # tf.shape forgets it
    return y


TABLE = {
  row.name: row
  for row in (
    Conv,
    DepthwiseConv,
    BatchNorm,
    Relu,
    Pool,
    Add,
    Concat,
    GlobalPool,
    Flatten,
    Dense,
    Dropout,
    Slice,
    Zero,
  )
}


def from_dict(attributes: dict) -> Op:
  """The inverse of `Op.to_dict`; raises SpecError on anything else."""
  if not isinstance(attributes, dict):
    raise SpecError(f"an op must be an object, not {attributes!r}")
  attributes = dict(attributes)
  name = attributes.pop("op", None)
  if not isinstance(name, str) or name not in TABLE:
    raise SpecError(f"unknown op {name!r}: choose from {', '.join(TABLE)}")
  known = {f.name for f in dataclasses.fields(TABLE[name])}
  for key in attributes:
    if key not in known:
      raise SpecError(f"op {name} has no attribute {key!r}")
  return TABLE[name](**attributes)


def _plain(value):
  return list(value) if isinstance(value, tuple) else value


def _image(op, shape):
  if len(shape) != 3:
    raise SpecError(f"{op.name} needs an input [H, W, C], not {shape}")
  return shape


def _bias_primitive(op, channels):
  if not op.use_bias:
    return ()
  return (Primitive("bias", ("bias",), (channels, 1, 1, 1)),)


def _add_bias(y, params):
  import tensorflow as tf

  return tf.nn.bias_add(y, params["bias"]) if "bias" in params else y
