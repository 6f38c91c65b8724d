"""Estimators of sentiment intensity and level."""

from sklearn_speechsent.nn.losses import SummedLoss
from sklearn_speechsent.sentiment.networks import (
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.sentiment.ordinal import OrdinalClassifier
from sklearn_speechsent.sentiment.voting import OrdinalVotingClassifier

__all__ = [
    "OrdinalClassifier",
    "OrdinalVotingClassifier",
    "SpeechSentimentClassifier",
    "SpeechSentimentRegressor",
    "SummedLoss",
]
