"""Sentiment over time: time lines of recordings, and live streams that agree with them."""

from sklearn_speechsent.inference.events import Score, SpeechEnd, SpeechStart
from sklearn_speechsent.inference.streaming import StreamingSentiment

__all__ = [
    "Score",
    "SpeechEnd",
    "SpeechStart",
    "StreamingSentiment",
]
