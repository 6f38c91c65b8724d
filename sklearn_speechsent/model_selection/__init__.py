"""Splitters that keep every speaker on one side."""

from sklearn_speechsent.model_selection.speaker_folds import StratifiedSpeakerKFold

__all__ = ["StratifiedSpeakerKFold"]
