"""ConvNets-250K and BNFree-ConvNets-50K as a data set of tensorflow-datasets.

After `import qinit.archs.convnets_tfds`:

    tfds.load("conv_nets250k", split="train", data_dir=...)
    tfds.load("conv_nets250k/bn_free_50k", split="train", data_dir=...)

Random access needs ArrayRecord files: see `qinit.archs.convnets`.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow_datasets as tfds

from qinit.archs.collection import NAMED, Collection, Network, Split, example
from qinit.archs.convnets import IDENTITY, VERSION
from qinit.archs.generator import Generator

_DESCRIPTION = """
Randomly generated mobile-friendly convolutional networks for training graph
hypernetworks (Section 4.1 of "Starting Positions Matter", arXiv 2506.10463):
stem, normal and reduction cells, head. `spec` holds the constructor
arguments as JSON.
"""
_DESCRIPTIONS = {  # the first is the default
  "convnets_250k": "ConvNets-250K, Section 4.1 of the paper.",
  "bn_free_50k": "BNFree-ConvNets-50K, Section 4.5.",
  "mobilenet_like": "Depthwise-separable convolutions only.",
}
_CITATION = """
@article{yun2025starting,
  title={Starting Positions Matter: A Study on Better Weight Initialization
         for Neural Network Quantization},
  author={Yun, Stone and Wong, Alexander},
  journal={arXiv preprint arXiv:2506.10463},
  year={2025}
}
"""


@dataclasses.dataclass(kw_only=True)
class ConvNetsConfig(tfds.core.BuilderConfig):
  """A collection of networks under a name."""

  networks: Collection = dataclasses.field(repr=False)


class ConvNets250k(tfds.core.GeneratorBasedBuilder):
  """The builder, `conv_nets250k`.

  Args:
    networks: instead of those of the config, under its name: fewer, say.
    processes: how many sample; all cores by default.
    progress: called with a split and its networks; what it returns is
      iterated over instead.
    **kwargs: TFDS' own.
  """

  VERSION = tfds.core.Version(VERSION)
  RELEASE_NOTES = {str(VERSION): "First."}  # noqa: RUF012
  BUILDER_CONFIGS = [  # noqa: RUF012
    ConvNetsConfig(name=name, description=text, networks=NAMED[name])
    for name, text in _DESCRIPTIONS.items()
  ]

  def __init__(
    self,
    *,
    networks: Collection | None = None,
    processes: int | None = None,
    progress: Callable[[Split, Iterable[Network]], Iterable[Network]] = (
      lambda split, networks: networks
    ),
    **kwargs,
  ):
    self._networks, self._processes = networks, processes
    self._progress, self._beam = progress, False
    super().__init__(**kwargs)

  @property
  def networks(self) -> Collection:
    return self._networks or self.builder_config.networks

  def _info(self) -> tfds.core.DatasetInfo:
    features = {
      "spec": np.str_,
      "num_nodes": np.int32,
      "num_params": np.int64,
      "macs": np.int64,
      "digest": np.str_,
    }
    return self.dataset_info_from_configs(
      description=_DESCRIPTION,
      features=tfds.features.FeaturesDict(features),
      citation=_CITATION,
      disable_shuffling=True,  # they are in random order anyway
      metadata=tfds.core.MetadataDict({IDENTITY: self.networks.identity()}),
    )

  def _download_and_prepare(self, dl_manager, download_config):
    self._beam = bool(
      download_config.beam_runner or download_config.beam_options
    )
    super()._download_and_prepare(dl_manager, download_config)

  def _split_generators(self, dl_manager):
    del dl_manager
    generator = Generator(self.networks, self._processes)
    return {
      split.name: self._generate_examples(generator, split)
      for split in self.networks.stored()
    }

  def _generate_examples(self, generator, split):
    if self._beam and split == self.networks.splits[-1]:
      from qinit.archs import convnets_beam

      held_out = generator.held_out(split.name)
      return convnets_beam.examples(split, self.networks.seed, held_out)
    networks = generator.split(split.name)
    return map(example, self._progress(split, networks))
