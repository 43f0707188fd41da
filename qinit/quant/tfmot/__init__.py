"""Quantisation-aware training with TFMOT. Importing this loads TFMOT.

scheme = QatScheme(images, weight_bits=4, activation_bits=4)
model = quantize_model(float_model, scheme)
"""

from qinit.quant.tfmot.deploy import (
  deploy,
  freeze_batch_norm,
  linear_layers,
)
from qinit.quant.tfmot.scheme import QatScheme, SelfQuantized, quantize_model
from qinit.quant.tfmot.settings import QUANTIZERS, RANGES, QatSettings

__all__ = [
  "QUANTIZERS",
  "RANGES",
  "QatScheme",
  "QatSettings",
  "SelfQuantized",
  "deploy",
  "freeze_batch_norm",
  "linear_layers",
  "quantize_model",
]
