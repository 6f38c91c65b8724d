"""Scores of the systems: tables of the paper, ablations, detectors, speaker networks."""
