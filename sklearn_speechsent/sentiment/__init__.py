"""Estimators of sentiment intensity and level."""

from sklearn_speechsent.sentiment.classifier import SpeechSentimentClassifier
from sklearn_speechsent.sentiment.ordinal import OrdinalClassifier
from sklearn_speechsent.sentiment.regressor import SpeechSentimentRegressor
from sklearn_speechsent.training.loss import SummedLoss

__all__ = [
    "OrdinalClassifier",
    "SpeechSentimentClassifier",
    "SpeechSentimentRegressor",
    "SummedLoss",
]
