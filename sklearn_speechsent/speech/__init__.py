"""Large pre-trained speech encoders as features of recordings."""

from sklearn_speechsent.speech.encoder import SpeechEncoder

__all__ = ["SpeechEncoder"]
