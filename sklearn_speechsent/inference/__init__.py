"""Sentiment over time: time lines of recordings, and live streams that agree with them."""

from sklearn_speechsent.inference.aggregate import aggregate_timeline
from sklearn_speechsent.inference.detection import CausalDetector
from sklearn_speechsent.inference.display import TimelineDisplay
from sklearn_speechsent.inference.events import Score, SpeechEnd, SpeechStart
from sklearn_speechsent.inference.export import (
    timeline_to_audacity,
    timeline_to_elan,
    timeline_to_rttm,
)
from sklearn_speechsent.inference.segments import read_rttm
from sklearn_speechsent.inference.streaming import StreamingSentiment
from sklearn_speechsent.inference.timeline import sentiment_timeline

__all__ = [
    "CausalDetector",
    "Score",
    "SpeechEnd",
    "SpeechStart",
    "StreamingSentiment",
    "TimelineDisplay",
    "aggregate_timeline",
    "read_rttm",
    "sentiment_timeline",
    "timeline_to_audacity",
    "timeline_to_elan",
    "timeline_to_rttm",
]
