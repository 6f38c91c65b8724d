"""Transformers from recordings to frames and features."""

from sklearn_speechsent.features.cmn import SlidingCMN
from sklearn_speechsent.features.mel import MelFilterBank
from sklearn_speechsent.features.speaker_blocks import SpeakerFeatureExtractor
from sklearn_speechsent.features.statistics import pool_statistics, pool_statistics_of_all
from sklearn_speechsent.features.vad import VoiceActivityDetector

__all__ = [
    "MelFilterBank",
    "SlidingCMN",
    "SpeakerFeatureExtractor",
    "VoiceActivityDetector",
    "pool_statistics",
    "pool_statistics_of_all",
]
