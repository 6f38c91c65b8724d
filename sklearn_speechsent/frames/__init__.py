"""Utterances of unequal length between the steps: the container, its files, its validation."""

from sklearn_speechsent.frames.container import UtteranceFrames

__all__ = ["UtteranceFrames"]
