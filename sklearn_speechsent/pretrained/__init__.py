"""Pre-trained networks: a registry and the readers of their file formats."""

from sklearn_speechsent.pretrained.registry import (
    REGISTRY,
    SpeakerWeights,
    check_frontend,
    get_weights,
    has_weights,
    load_state_dict,
    weights_path,
)

__all__ = [
    "REGISTRY",
    "SpeakerWeights",
    "check_frontend",
    "get_weights",
    "has_weights",
    "load_state_dict",
    "weights_path",
]
