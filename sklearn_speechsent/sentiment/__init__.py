"""Estimators of sentiment intensity and level."""

from sklearn_speechsent.nn.losses import SummedLoss
from sklearn_speechsent.sentiment.networks import (
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.sentiment.ordinal import OrdinalClassifier

__all__ = [
    "OrdinalClassifier",
    "SpeechSentimentClassifier",
    "SpeechSentimentRegressor",
    "SummedLoss",
]
