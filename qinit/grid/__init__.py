"""Grids of experiments: which cells there are is a study's, where they run an
engine's, and what is known already is in the run folder."""
