"""Pre-trained speaker networks by name: where they lie, what they are, what they expect."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.pretrained.onnx_layout import read_folded_resnet
from sklearn_speechsent.utils.data_home import get_data_home
from sklearn_speechsent.utterances import UtteranceFrames


@dataclass(frozen=True)
class SpeakerWeights:
    """One entry of the registry.

    Parameters
    ----------
    name : str
    path : str
        Place below the data home.
    sha256 : str
        Checksum of the file.
    licence, attribution : str
    frontend : mapping
        Settings of the frames the network was trained on, in the words of
        ``UtteranceFrames.frontend``.
    architecture : mapping
        Arguments of :class:`~sklearn_speechsent.nn.SpeakerResNet`.
    """

    name: str
    path: str
    sha256: str
    licence: str
    attribution: str
    frontend: Mapping[str, Any] = field(hash=False)
    architecture: Mapping[str, Any] = field(hash=False)


_KALDI_HAMMING = {
    "sample_rate": 16000,
    "n_mels": 80,
    "frame_length": 0.025,
    "frame_shift": 0.01,
    "window": "hamming",
    "low_freq": 20.0,
    "high_freq": 8000.0,
    "preemphasis": 0.97,
    "scale": 32768.0,
}

REGISTRY = {
    weights.name: weights
    for weights in [
        SpeakerWeights(
            name="wespeaker-voxceleb-resnet34",
            path="models/wespeaker-voxceleb-resnet34.onnx",
            sha256="5ef208a9da1453335308a6b6f4e6dfbd7e183a38b604de0a57664f45d257fe94",
            licence="CC BY 4.0",
            attribution=(
                "WeSpeaker (H. Wang et al., ICASSP 2023), ResNet34 trained on VoxCeleb2 dev "
                "(J. S. Chung et al., Interspeech 2018)"
            ),
            frontend={**_KALDI_HAMMING, "cmn": "utterance"},
            architecture={
                "n_mels": 80,
                "widths": (32, 64, 128, 256),
                "depths": (3, 4, 6, 3),
                "se_ratio": None,
            },
        )
    ]
}


def get_weights(name: str) -> SpeakerWeights:
    """Entry of the registry.

    Parameters
    ----------
    name : str

    Returns
    -------
    SpeakerWeights

    Raises
    ------
    ValueError
        If there is no such entry; the message lists the names.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import get_weights
    >>> get_weights("wespeaker-voxceleb-resnet34").licence
    'CC BY 4.0'
    """
    try:
        return REGISTRY[name]
    except (KeyError, TypeError):
        raise ValueError(
            f"There are no pre-trained weights named {name!r}; known: {sorted(REGISTRY)}."
        ) from None


def check_frontend(weights: SpeakerWeights, frames: UtteranceFrames) -> None:
    """Compare how frames were made with what a network was trained on.

    Parameters
    ----------
    weights : SpeakerWeights
    frames : UtteranceFrames
        What the record of their making does not mention is taken to fit.

    Raises
    ------
    ValueError
        If rate, frames, bins, window or scale differ: the features would be meaningless.

    Warns
    -----
    UserWarning
        If the mean normalisation is another one, which costs little.
    """
    n_mels = weights.frontend["n_mels"]
    if frames.frame_shape != (n_mels,):
        raise ValueError(
            f"{weights.name!r} expects frames of {n_mels} mel bins, got frames of shape "
            f"{frames.frame_shape}."
        )
    if not frames.frontend:
        return
    wrong = {
        name: (frames.frontend.get(name), wanted)
        for name, wanted in weights.frontend.items()
        if name != "cmn" and frames.frontend.get(name, wanted) != wanted
    }
    if wrong:
        listed = ", ".join(
            f"{name}={got!r} (expected {want!r})" for name, (got, want) in wrong.items()
        )
        raise ValueError(
            f"These frames do not fit {weights.name!r}: {listed}. Set MelFilterBank accordingly."
        )
    cmn, wanted = frames.frontend.get("cmn"), weights.frontend["cmn"]
    if cmn != wanted:
        remedy = "SlidingCMN(window=None)" if wanted == "utterance" else f"SlidingCMN({wanted})"
        warnings.warn(
            f"{weights.name!r} was trained on frames after {remedy}, these have "
            f"{'no CMN' if cmn is None else f'CMN over {cmn}'}{'' if cmn is None else ' s'}.",
            UserWarning,
            stacklevel=4,
        )


def weights_path(weights: SpeakerWeights) -> Path:
    """Where the file is expected on this machine, whether or not it is there.

    Parameters
    ----------
    weights : SpeakerWeights

    Returns
    -------
    pathlib.Path
    """
    return get_data_home() / weights.path


def has_weights(name: str) -> bool:
    """Whether the file of pre-trained weights lies in the data home.

    Parameters
    ----------
    name : str
        Name in the registry.

    Returns
    -------
    bool
    """
    return weights_path(get_weights(name)).is_file()


def load_state_dict(name: str) -> dict[str, torch.Tensor]:
    """Tensors of a pre-trained network under WeSpeaker's key names.

    Parameters
    ----------
    name : str
        Name in the registry.

    Returns
    -------
    dict of str to Tensor
        A new dict over tensors that must not be changed in place.

    Raises
    ------
    FileNotFoundError
        If the file is not there; the message says where to put it.
    ValueError
        If its checksum is another one than the registry's.
    """
    weights = get_weights(name)
    path = weights_path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"The weights {name!r} are expected at {path}. Put the file with sha256 "
            f"{weights.sha256} there ({weights.attribution}, {weights.licence}), or point the "
            "environment variable SPEECHSENT_DATA to the folder that has it."
        )
    status = path.stat()
    return dict(_verified_state(path, weights.sha256, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=2)
def _verified_state(path: Path, sha256: str, size: int, changed: int) -> dict[str, torch.Tensor]:
    """Check and read a file once per process; size and time of change notice another file."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(
            f"{path} ({size} bytes) has sha256 {found}, expected {sha256}: the file is damaged, "
            "incomplete or another one. Replace it."
        )
    return read_folded_resnet(path)
