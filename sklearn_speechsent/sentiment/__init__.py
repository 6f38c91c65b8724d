"""Estimators of sentiment intensity and level."""

from sklearn_speechsent.nn.losses import SummedLoss
from sklearn_speechsent.sentiment.intensity import IntensityRegressor
from sklearn_speechsent.sentiment.networks import (
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.sentiment.ordinal import OrdinalClassifier
from sklearn_speechsent.sentiment.voting import IntensityVotingRegressor, OrdinalVotingClassifier

__all__ = [
    "IntensityRegressor",
    "IntensityVotingRegressor",
    "OrdinalClassifier",
    "OrdinalVotingClassifier",
    "SpeechSentimentClassifier",
    "SpeechSentimentRegressor",
    "SummedLoss",
]
