"""Learned low-precision graph neural networks, after LPGNAS: architecture and
precision of every component searched together by back-propagation."""
