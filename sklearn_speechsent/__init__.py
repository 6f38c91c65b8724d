"""Sentiment intensity from speech alone, as scikit-learn estimators.

``Pipeline.fit(wav_paths, labels)``: recordings go in, ordinal sentiment from -3 to +3 comes out,
and every step in between can be swapped, searched, cloned, pickled and inspected.
"""

from sklearn_speechsent._version import __version__
from sklearn_speechsent.audio.perturbation import WaveformPerturbation
from sklearn_speechsent.features import MelFilterBank, SlidingCMN
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.pipeline import make_sentiment_pipeline
from sklearn_speechsent.sentiment import (
    OrdinalClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.speaker import (
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
    SpeakerVerifier,
)
from sklearn_speechsent.store import FeatureStore
from sklearn_speechsent.vad import VoiceActivityDetector

__all__ = [
    "FeatureStore",
    "MelFilterBank",
    "OrdinalClassifier",
    "SlidingCMN",
    "SpeakerEmbedder",
    "SpeakerEmbeddingFusion",
    "SpeakerFeatureExtractor",
    "SpeakerVerifier",
    "SpeechSentimentClassifier",
    "SpeechSentimentRegressor",
    "UtteranceFrames",
    "VoiceActivityDetector",
    "WaveformPerturbation",
    "__version__",
    "make_sentiment_pipeline",
]
