"""NetSpecs as tf_keras models."""

from qinit.keras.builder import assign, build, params, variables
from qinit.keras.fit import predict, predictor

__all__ = ["assign", "build", "params", "predict", "predictor", "variables"]
