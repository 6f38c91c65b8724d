"""What a fitted model can do and what it cannot: its card, with scores, intervals, calibration."""

from sklearn_speechsent.inspection.bootstrap import speaker_interval
from sklearn_speechsent.inspection.calibration import ThresholdCalibration, threshold_calibration
from sklearn_speechsent.inspection.card import ModelCard

__all__ = ["ModelCard", "ThresholdCalibration", "speaker_interval", "threshold_calibration"]
