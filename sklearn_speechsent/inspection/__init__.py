"""Trust in a model: cards, calibration, prediction sets, groups, comparisons, explanations."""

from sklearn_speechsent.inspection.bootstrap import speaker_interval
from sklearn_speechsent.inspection.calibration import ThresholdCalibration, threshold_calibration
from sklearn_speechsent.inspection.calibration_display import CalibrationDisplay
from sklearn_speechsent.inspection.calibrator import OrdinalCalibrator
from sklearn_speechsent.inspection.card import ModelCard
from sklearn_speechsent.inspection.comparison import compare
from sklearn_speechsent.inspection.conformal import ConformalOrdinal
from sklearn_speechsent.inspection.explanation_display import ExplanationDisplay
from sklearn_speechsent.inspection.groups import group_report
from sklearn_speechsent.inspection.learning_display import SpeakerCurveDisplay
from sklearn_speechsent.inspection.occlusion import Explanation, explain
from sklearn_speechsent.inspection.out_of_fold import cross_val_ordinal
from sklearn_speechsent.inspection.report_sections import Report
from sklearn_speechsent.inspection.reporting import report
from sklearn_speechsent.inspection.transfer import cross_corpus, learning_curve

__all__ = [
    "CalibrationDisplay",
    "ConformalOrdinal",
    "Explanation",
    "ExplanationDisplay",
    "ModelCard",
    "OrdinalCalibrator",
    "Report",
    "SpeakerCurveDisplay",
    "ThresholdCalibration",
    "compare",
    "cross_corpus",
    "cross_val_ordinal",
    "explain",
    "group_report",
    "learning_curve",
    "report",
    "speaker_interval",
    "threshold_calibration",
]
