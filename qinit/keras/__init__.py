"""NetSpecs as tf_keras models."""

from qinit.keras.builder import assign, build, params, variables

__all__ = ["assign", "build", "params", "variables"]
