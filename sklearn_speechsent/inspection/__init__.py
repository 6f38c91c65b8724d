"""What a fitted model can do and what it cannot: scores, intervals, calibration, sets, cards."""

from sklearn_speechsent.inspection.bootstrap import speaker_interval
from sklearn_speechsent.inspection.calibration import ThresholdCalibration, threshold_calibration
from sklearn_speechsent.inspection.calibration_display import CalibrationDisplay
from sklearn_speechsent.inspection.calibrator import OrdinalCalibrator
from sklearn_speechsent.inspection.card import ModelCard
from sklearn_speechsent.inspection.conformal import ConformalOrdinal
from sklearn_speechsent.inspection.out_of_fold import cross_val_ordinal

__all__ = [
    "CalibrationDisplay",
    "ConformalOrdinal",
    "ModelCard",
    "OrdinalCalibrator",
    "ThresholdCalibration",
    "cross_val_ordinal",
    "speaker_interval",
    "threshold_calibration",
]
