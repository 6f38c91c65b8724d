"""Pre-trained networks: a registry, downloads, and the readers of their file formats."""

from sklearn_speechsent.pretrained.building import build_network, load_into
from sklearn_speechsent.pretrained.checkpoint import (
    SpeakerCheckpoint,
    load_checkpoint,
    load_state_dict,
)
from sklearn_speechsent.pretrained.fetch import fetch_weights
from sklearn_speechsent.pretrained.frontend import check_frontend
from sklearn_speechsent.pretrained.registry import (
    REGISTRY,
    SpeakerWeights,
    get_weights,
    has_weights,
    weights_path,
)
from sklearn_speechsent.pretrained.saving import save_checkpoint
from sklearn_speechsent.pretrained.vad import VADCheckpoint, build_vad, load_vad, save_vad

__all__ = [
    "REGISTRY",
    "SpeakerCheckpoint",
    "SpeakerWeights",
    "VADCheckpoint",
    "build_network",
    "build_vad",
    "check_frontend",
    "fetch_weights",
    "get_weights",
    "has_weights",
    "load_checkpoint",
    "load_into",
    "load_state_dict",
    "load_vad",
    "save_checkpoint",
    "save_vad",
    "weights_path",
]
