"""Runs an integer model on a graph with NumPy's integers alone."""

import numpy as np

from qinit.lpgnas import integer
from qinit.lpgnas.graphs import Graph
from qinit.lpgnas.integer_file import IntegerModel
from qinit.lpgnas.space import LEARNED

# Elements of int64 that one slice of the rows may take.
_BUDGET = 1 << 24


class Interpreter:
  """One inference.

  Attributes:
    stored: elements and bits of every tensor that is stored, by name, to
      compare with `cost.buffer_bits`.
  """

  def __init__(self, model: IntegerModel, graph: Graph):
    self.model, self.graph = model, graph
    self.offsets = np.searchsorted(graph.target, np.arange(graph.num_nodes))
    self.degree = graph.degree
    self.stored: dict[str, tuple[int, int]] = {}

  def predictions(self) -> np.ndarray:
    """The class of each node; the first of equal ones."""
    return self.logits()[0].argmax(1)

  def logits(self) -> tuple[np.ndarray, int]:
    """int64 [N, classes], and how many of the bits are a fraction."""
    blocks = self.model.arch.blocks
    outputs = [self._features()]
    for k, block in enumerate(blocks, 1):
      name = f"block{k}"
      acc, f = self._linear(name, outputs, k)
      h = self._store(f"{name}/linear", acc, f)
      y = self._message(name, block, h)
      outputs.append(self._activation(name, block, y))
    acc, f = self._linear("output", outputs, len(blocks) + 1)
    return integer.add([(acc, f), self._bias("output")])

  def _features(self):
    """Codes of the feature values, in the place of the features."""
    fmt, f = self._format("input")
    # The only numbers that come from outside are the graph's own.
    codes = np.rint(np.ldexp(self.graph.values.astype(np.float64), f))
    codes = integer.clip(codes.astype(np.int64), fmt)
    self.stored["input"] = (codes.size, fmt.bits)
    return codes

  def _linear(self, name, outputs, reader):
    terms = []
    for s in self.model.arch.sources(reader):
      key = f"{name}/weight{s}"
      weight = self.model.codes[key]
      x = outputs[s]
      product = x @ weight if s else self._sparse(x, weight)
      source = f"block{s}/activation" if s else "input"
      fractions = self.model.fractions[source], self.model.fractions[key]
      terms.append((product, sum(fractions)))
    return integer.add(terms)

  def _sparse(self, values, weight):
    """Features times weights, some rows at a time."""
    graph = self.graph
    product = np.zeros([graph.num_nodes, weight.shape[1]], np.int64)
    step = max(1, _BUDGET // weight.shape[1])
    starts = np.flatnonzero(np.diff(graph.offsets))
    while len(starts):
      begin = graph.offsets[starts[0]]
      count = np.searchsorted(graph.offsets[starts + 1], begin + step, "right")
      rows = starts[: max(1, count)]
      end = graph.offsets[rows[-1] + 1]
      terms = values[begin:end, None] * weight[graph.columns[begin:end]]
      product[rows] = np.add.reduceat(terms, graph.offsets[rows] - begin)
      starts = starts[len(rows) :]
    return product

  def _message(self, name, block, h):
    """The stored output of the aggregation [N, hidden]."""
    h = h.reshape(len(h), block.heads, -1)
    f = self.model.fractions[f"{name}/linear"]
    alpha, f_alpha = self._alpha(name, block.attention, h, f)
    reduce = np.maximum if block.aggregation == "max" else np.add
    source = self.graph.source
    # alpha has one column for all heads, or one for each.
    columns = np.broadcast_to(alpha, (len(source), block.heads)).T
    y = np.stack(
      [
        reduce.reduceat(a[:, None] * h[source, i], self.offsets)
        for i, a in enumerate(columns)
      ],
      1,
    ).reshape(len(h), -1)
    mean = block.aggregation == "mean"
    divisor = self.degree[:, None] if mean else np.int64(1)
    bias, f_bias = self._bias(name)
    y, f = integer.add([(y, f_alpha + f), (bias * divisor, f_bias)])
    return self._store(f"{name}/aggregate", y, f, divisor)

  def _alpha(self, name, attention, h, f):
    """Codes [E, H] or, where heads do not differ, [E, 1]; fraction bits."""
    if attention == "const":
      return np.ones([len(self.graph.source), 1], np.int64), 0
    fmt, f_alpha = self._format(f"{name}/attention")
    if attention == "gcn":
      root = integer.reciprocal_roots(self.degree)
      ends = root[self.graph.target] * root[self.graph.source]
      codes = integer.rescale(ends[:, None], 60, f_alpha)
    else:
      scores = self._scores(name, attention, h, f)
      codes = integer.softmax(scores, self.offsets, f_alpha)
    codes = integer.clip(codes, fmt)
    self.stored[f"{name}/attention"] = (codes.size, fmt.bits)
    return codes, f_alpha

  def _scores(self, name, attention, h, f):
    """fix8.8 [E, H]."""
    assert attention in LEARNED
    keys = [f"{name}/{v}" for v in ("left", "right", "mix")]
    vectors = [
      self.model.codes[key].reshape(1, *h.shape[1:])
      for key in keys
      if key in self.model.codes
    ]
    fractions = [self.model.fractions.get(key, 0) for key in keys]
    left, right = vectors[0] * h, vectors[1] * h
    source, target = self.graph.source, self.graph.target
    f_left, f_right = (f + fraction for fraction in fractions[:2])

    def sums(a, f_a, b, f_b):
      total, f_total = integer.add([(a[target], f_a), (b[source], f_b)])
      return integer.score(total, f_total)

    if attention == "cos":
      total = (left[target] * right[source]).sum(-1)
      return integer.score(total, f_left + f_right)
    if attention == "generalized_linear":
      bent = integer.look_up("tanh", sums(left, f_left, right, f_right))
      return integer.score((bent * vectors[2]).sum(-1), 8 + fractions[2])
    left, right = left.sum(-1), right.sum(-1)
    there = sums(left, f_left, right, f_right)
    if attention == "linear":
      return integer.look_up("tanh", there)
    there = integer.look_up("leaky_relu", there)
    if attention == "gat":
      return there
    back = sums(right, f_right, left, f_left)
    return there + integer.look_up("leaky_relu", back)

  def _activation(self, name, block, y):
    of, f_of = self._format(f"{name}/aggregate")
    to, f_to = self._format(f"{name}/activation")
    codes = integer.table(block.activation, of, f_of, to, f_to)
    self.stored[f"{name}/activation"] = (y.size, to.bits)
    return codes[y - of.range[0]]

  def _store(self, name, acc, f, divisor=1):
    """An accumulator as codes of the tensor `name`."""
    fmt, f_stored = self._format(name)
    codes = integer.clip(integer.rescale(acc, f, f_stored, divisor), fmt)
    self.stored[name] = (codes.size, fmt.bits)
    return codes

  def _bias(self, name):
    key = f"{name}/bias"
    return self.model.codes[key], self.model.fractions[key]

  def _format(self, name):
    return self.model.format_of(name), self.model.fractions[name]
