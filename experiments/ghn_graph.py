"""Writes the graph of a network as a hypernetwork sees it.

  python -m experiments.ghn_graph --arch=net.json --output=graph.png
  python -m experiments.ghn_graph --arch=mbnetv2_bn --virtual \\
    --output=graph.graphml

A few seconds. Nodes are coloured by primitive; --virtual adds the virtual
edges, the shortest paths of up to --virtual_edge hops.
"""

from absl import flags

from experiments import app
from qinit.errors import QinitError

_ARCH = flags.DEFINE_string(
  "arch", None, "A JSON file of a network, or a name of the zoo."
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "File that ends in .png, .graphml or .json."
)
_CUTOFF = flags.DEFINE_integer(
  "virtual_edge", 50, "Longest virtual edge.", lower_bound=1, upper_bound=255
)
_VIRTUAL = flags.DEFINE_bool("virtual", False, "Include the virtual edges.")


def main(argv):
  del argv
  for flag in (_ARCH, _OUTPUT):
    if not flag.value:
      raise QinitError(f"--{flag.name} is missing")
  from qinit.archs.load import load
  from qinit.graph.view import view
  from qinit.report import graph_drawing

  graph = view(load(_ARCH.value), _CUTOFF.value)
  graph_drawing.write(graph, _OUTPUT.value, _VIRTUAL.value)
  print(_OUTPUT.value)


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
