"""Deciding among networks by training each of them briefly."""

import dataclasses
from collections.abc import Sequence

from qinit.lpgnas import cost
from qinit.lpgnas.search import SearchConfig
from qinit.lpgnas.space import Architecture, Precision
from qinit.lpgnas.taps import Quantise
from qinit.lpgnas.training import Report, TrainConfig, Trainer, error_loss

Network = tuple[Architecture, Precision]


def best(
  graph,
  networks: Sequence[Network],
  config: SearchConfig,
  train: TrainConfig,
  epochs: int,
  folder: str | None = None,
  report: Report | None = None,
) -> Network:
  """The network with the least E + beta C, E the errors of the validation nodes
  as `error_loss` counts them; each is trained from scratch for `epochs` and
  goes on where `folder` stands.

  Raises:
    FloatingPointError: if a loss is not finite.
    CheckpointError: if a checkpoint in `folder` is damaged.
  """
  short = dataclasses.replace(train, epochs=max(1, epochs))
  price = cost.Cost(config.space, cost.GraphSize.of(graph))

  def loss_of(i):
    arch, precision = networks[i]
    place = folder and f"{folder}/candidate{i}"
    trainer = Trainer(graph, arch, short, Quantise(precision))
    accuracy = trainer.run(place, report).val_accuracy / 100
    loss = error_loss(accuracy, graph.num_classes)
    return loss + config.beta * price.of(arch, precision)

  return networks[min(range(len(networks)), key=loss_of)]
