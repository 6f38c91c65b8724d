"""Voice activity detection: the frames and seconds in which somebody speaks."""

from sklearn_speechsent.vad.detector import VoiceActivityDetector

__all__ = ["VoiceActivityDetector"]
