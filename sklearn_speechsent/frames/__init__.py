"""Utterances of unequal length between the steps: the container, its files, its validation.

What a step has to say about utterances, in which nobody speaks or which are unlike those of fit, is
here too.
"""

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.domain import DomainWarning
from sklearn_speechsent.frames.no_speech import NoSpeechWarning

__all__ = ["DomainWarning", "NoSpeechWarning", "UtteranceFrames"]
