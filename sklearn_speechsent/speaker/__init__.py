"""Who is speaking: training a verification network, embedding voices, fusing them with frames."""

from sklearn_speechsent.speaker.embedder import SpeakerEmbedder
from sklearn_speechsent.speaker.extractor import SpeakerFeatureExtractor
from sklearn_speechsent.speaker.fusion import SpeakerEmbeddingFusion
from sklearn_speechsent.speaker.verifier import SpeakerVerifier

__all__ = [
    "SpeakerEmbedder",
    "SpeakerEmbeddingFusion",
    "SpeakerFeatureExtractor",
    "SpeakerVerifier",
]
