"""Estimators of sentiment intensity and level."""

from sklearn_speechsent.nn.losses import SummedLoss
from sklearn_speechsent.sentiment.classifier import SpeechSentimentClassifier
from sklearn_speechsent.sentiment.ordinal import OrdinalClassifier
from sklearn_speechsent.sentiment.regressor import SpeechSentimentRegressor

__all__ = [
    "OrdinalClassifier",
    "SpeechSentimentClassifier",
    "SpeechSentimentRegressor",
    "SummedLoss",
]
