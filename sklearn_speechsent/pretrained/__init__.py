"""Pre-trained networks: a registry, downloads, and reading and writing of their files."""

from sklearn_speechsent.pretrained.architecture import load_into
from sklearn_speechsent.pretrained.encoder import (
    EncoderWeights,
    build_encoder,
    load_encoder_weights,
)
from sklearn_speechsent.pretrained.fetch import fetch_weights
from sklearn_speechsent.pretrained.frame_settings import check_frame_settings
from sklearn_speechsent.pretrained.registry import (
    REGISTRY,
    RegisteredWeights,
    get_weights,
    has_weights,
    weights_path,
)
from sklearn_speechsent.pretrained.speaker import (
    SpeakerWeights,
    build_network,
    load_weights,
    save_weights,
)
from sklearn_speechsent.pretrained.vad import (
    VADWeights,
    build_vad,
    load_vad_weights,
    save_vad_weights,
)

__all__ = [
    "REGISTRY",
    "EncoderWeights",
    "RegisteredWeights",
    "SpeakerWeights",
    "VADWeights",
    "build_encoder",
    "build_network",
    "build_vad",
    "check_frame_settings",
    "fetch_weights",
    "get_weights",
    "has_weights",
    "load_encoder_weights",
    "load_into",
    "load_vad_weights",
    "load_weights",
    "save_vad_weights",
    "save_weights",
    "weights_path",
]
