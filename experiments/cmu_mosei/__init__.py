"""Experiment of the paper on CMU-MOSEI, from the recordings to its table."""
