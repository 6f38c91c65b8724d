"""Trust in a model: cards, calibration, groups, comparisons, learning curves, explanations."""

from sklearn_speechsent.inspection.bootstrap import speaker_interval
from sklearn_speechsent.inspection.calibration import ThresholdCalibration, threshold_calibration
from sklearn_speechsent.inspection.card import ModelCard
from sklearn_speechsent.inspection.comparison import compare
from sklearn_speechsent.inspection.explanation_display import ExplanationDisplay
from sklearn_speechsent.inspection.groups import group_report
from sklearn_speechsent.inspection.learning_display import SpeakerCurveDisplay
from sklearn_speechsent.inspection.occlusion import Explanation, explain
from sklearn_speechsent.inspection.transfer import cross_corpus, learning_curve

__all__ = [
    "Explanation",
    "ExplanationDisplay",
    "ModelCard",
    "SpeakerCurveDisplay",
    "ThresholdCalibration",
    "compare",
    "cross_corpus",
    "explain",
    "group_report",
    "learning_curve",
    "speaker_interval",
    "threshold_calibration",
]
