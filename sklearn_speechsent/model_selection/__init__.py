"""Splitters of data without speakers on both sides."""

from sklearn_speechsent.model_selection.speaker_folds import StratifiedSpeakerKFold

__all__ = ["StratifiedSpeakerKFold"]
