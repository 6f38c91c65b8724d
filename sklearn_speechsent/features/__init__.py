"""Transformers from recordings to frames and features."""

from sklearn_speechsent.features.cmn import SlidingCMN
from sklearn_speechsent.features.mel import MelFilterBank
from sklearn_speechsent.features.statistics import FrameStatistics, pool_statistics

__all__ = [
    "FrameStatistics",
    "MelFilterBank",
    "SlidingCMN",
    "pool_statistics",
]
