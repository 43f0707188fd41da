"""The settings of a hypernetwork's training."""

import dataclasses
import math

from qinit.errors import QinitError, one_of
from qinit.quant.mixed import Mixed
from qinit.quant.simulation import Simulation
from qinit.quant.widths import simulations
from qinit.study.ghn_data import TRAINING_SPLITS

_IMAGES = 50_000
_FACTORS = dict.fromkeys(
  ("learning_rate", "weight_decay", "norm_penalty", "damping"), (0, 1e6)
)
_BOUNDS = _FACTORS | {
  "steps": (0, 10**9),
  "minutes": (0, 10**6),
  "batch_size": (1, _IMAGES),
  "meta_batch": (1, 1024),
  "virtual_edge": (1, 255),
  "seed": (0, 2**63 - 1),
  "networks": (0, 10**6),
  "checkpoint_minutes": (0, 10**6),
}


@dataclasses.dataclass(frozen=True)
class GhnTrain:
  """The settings of a training.

  Attributes:
    bits: "float", "w4a4", ... (see `widths.simulations`); several make a
      hypernetwork for all of them, which sees the width of each network that it
      parameterises. "mixed" and "mixed_layers" draw anew for every network.
    quantizer: a row of QUANTIZERS.
    weight_clip: a row of WEIGHT_CLIPS.
    init_ghn: what training starts from, None for random weights. Only its
      weights are taken: the optimiser is new.
    split: of TRAINING_SPLITS.
    steps: 0 for the paper's 100 epochs, or for `minutes`.
    minutes: turned into steps once, from the speed of the first.
    virtual_edge: the cut-off s_max of the shortest paths.
    norm_penalty, damping: see `ghn_step.Penalties`.
    networks: sampled now instead of read, if not 0.

  Raises:
    QinitError: for a name or a combination that does not exist, or a number
      that is out of its bounds.
  """

  bits: tuple[str, ...] = ("float",)
  quantizer: str = "simquant"
  weight_clip: str = "absolute"
  init_ghn: str | None = None
  split: str = "train"
  steps: int = 0
  minutes: float = 0
  batch_size: int = 32
  meta_batch: int = 4
  learning_rate: float = 1e-3
  weight_decay: float = 1e-5
  virtual_edge: int = 10
  norm_penalty: float = 0.0
  damping: float = 0.0
  mixed_precision: bool = False
  seed: int = 0
  networks: int = 0
  images: int = _IMAGES
  data_dir: str | None = None
  networks_dir: str | None = None
  output_dir: str = "runs/ghn_train"
  checkpoint_minutes: float = 3.0

  def __post_init__(self):
    one_of("split", self.split, TRAINING_SPLITS)
    self.ways()
    for name, (least, most) in _BOUNDS.items():
      value = getattr(self, name)
      if not least <= value <= most:
        raise QinitError(
          f"--{name} must lie in {least:g}..{most:g}, not {value}"
        )
    if self.steps and self.minutes:
      raise QinitError("give either --steps or --minutes, not both")

  def identity(self) -> dict:
    """The settings that make two runs the same."""
    places = ("data_dir", "networks_dir", "output_dir", "checkpoint_minutes")
    settings = dataclasses.asdict(self)
    return {key: settings[key] for key in settings if key not in places}

  def ways(self) -> list[Simulation | Mixed | None]:
    """The quantisation of each of the widths."""
    ways = simulations(self.bits, self.quantizer, self.weight_clip)
    return [ways[name] for name in self.bits]

  def epochs_in_steps(self, epochs: float) -> int:
    return math.ceil(epochs * self.images / self.batch_size)
