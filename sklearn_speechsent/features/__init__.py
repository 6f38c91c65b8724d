"""Transformers from recordings to frames and features."""

from sklearn_speechsent.features.cmn import SlidingCMN
from sklearn_speechsent.features.mel import MelFilterBank
from sklearn_speechsent.features.speaker_blocks import SpeakerFeatureExtractor
from sklearn_speechsent.features.statistics import FrameStatistics, pool_statistics
from sklearn_speechsent.features.vad import VoiceActivityDetector

__all__ = [
    "FrameStatistics",
    "MelFilterBank",
    "SlidingCMN",
    "SpeakerFeatureExtractor",
    "VoiceActivityDetector",
    "pool_statistics",
]
