"""qinit: where should training start when the network will be quantised?"""

__version__ = "0.1.0"
