"""Checkpoints of speaker networks from the registry or from any file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.pretrained.layout import infer_architecture, is_folded
from sklearn_speechsent.pretrained.readers import SUFFIXES, Contents, read_file
from sklearn_speechsent.pretrained.registry import (
    REGISTRY,
    WESPEAKER_FRAME_SETTINGS,
    RegisteredWeights,
    by_hand,
    find_weights,
    get_weights,
)
from sklearn_speechsent.utils.files import file_sha256, file_version


@dataclass(frozen=True, eq=False)
class SpeakerWeights:
    """Tensors of a speaker network and all that is needed to use them.

    Parameters
    ----------
    name : str
        Name in the registry, or the path as it was given.
    state : dict of str to Tensor
        Tensors under WeSpeaker's key names, those with a fraction in float32 whatever the file
        keeps them in. The dict is new, the tensors are shared: they must not be changed in place.
    architecture : mapping
        Arguments of :class:`~sklearn_speechsent.nn.SpeakerResNet`: ``n_mels``, ``widths``,
        ``depths``, ``se_ratio`` and ``embedding_size``.
    frame_settings : mapping
        Settings of the frames the network was trained on, in the words of
        ``UtteranceFrames.frame_settings``.
    folded : bool
        Whether the statistics of the batch normalisations were folded into the convolutions. Such
        a network must not be trained with batch statistics of its own.
    sha256 : str
        Checksum of the file.
    extra : mapping, default={}
        What else is known: licence, attribution, or what was passed to ``save_weights``.
    """

    name: str
    state: dict[str, torch.Tensor] = field(repr=False)
    architecture: Mapping[str, Any]
    frame_settings: Mapping[str, Any]
    folded: bool
    sha256: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def load_weights(source: Any) -> SpeakerWeights:
    """Read a speaker network by name or from a file.

    Reading never runs code of the file and never downloads anything. A file is read once per
    process, and again when it has changed.

    Parameters
    ----------
    source : str, path-like or SpeakerVerifier
        Name in the registry, a fitted :class:`~sklearn_speechsent.SpeakerVerifier` (anything with
        ``to_weights()``), or path of a file: ``.onnx`` (an export of WeSpeaker, whose batch
        normalisations are folded into the convolutions), ``.pt`` or ``.pth`` (a state dict under
        WeSpeaker's key names; the speaker classifier is left out), or ``.safetensors`` (written
        by :func:`save_weights`). Files that do not record them are taken to expect what
        WeSpeaker's models do: Kaldi's log-mel filter bank at 16 kHz with a Hamming window and
        the mean of each utterance subtracted, of as many bins as the shapes tell.

    Returns
    -------
    SpeakerWeights

    Raises
    ------
    FileNotFoundError
        If the file is not there; the message says how to come by it.
    ValueError
        If the file is damaged, foreign, another one than registered, or holds Python objects.

    See Also
    --------
    fetch_weights : Download a file of the registry.
    build_network : The network of a checkpoint.

    Examples
    --------
    >>> import tempfile, torch
    >>> from sklearn_speechsent.nn import SpeakerResNet
    >>> from sklearn_speechsent.pretrained import load_weights
    >>> network = SpeakerResNet(16, n_mels=24, widths=(4, 8), depths=(1, 2), se_ratio=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(network.state_dict(), f"{folder}/network.pt")
    ...     checkpoint = load_weights(f"{folder}/network.pt")
    >>> checkpoint.architecture
    {'n_mels': 24, 'widths': (4, 8), 'depths': (1, 2), 'se_ratio': None, 'embedding_size': 16}
    >>> checkpoint.frame_settings["window"], checkpoint.folded
    ('hamming', False)
    """
    if hasattr(source, "to_weights"):
        return source.to_weights()
    if isinstance(source, str) and source in REGISTRY:
        return _load_registered(REGISTRY[source])
    path = _existing_file(source)
    contents, architecture, folded = _read(*file_version(path))
    frame_settings = contents.frame_settings or {
        **WESPEAKER_FRAME_SETTINGS,
        "n_mels": architecture["n_mels"],
    }
    return SpeakerWeights(
        name=os.fspath(source),
        state=dict(contents.state),
        architecture=dict(architecture),
        frame_settings=dict(frame_settings),
        folded=folded,
        sha256=file_sha256(path),
        extra=dict(contents.extra),
    )


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
        If the file is not there; the message says how to come by it.
    ValueError
        If its checksum is another one than the registry's.
    """
    return _load_registered(get_weights(name)).state


def _load_registered(weights: RegisteredWeights) -> SpeakerWeights:
    path = find_weights(weights)
    remedy = f"Replace it: delete it and call fetch_weights({weights.name!r})."
    if weights.shipped:
        remedy = f"Please {by_hand(weights)}."
    sha256 = file_sha256(path, weights.sha256, remedy)
    contents, _, folded = _read(*file_version(path))
    return SpeakerWeights(
        name=weights.name,
        state=dict(contents.state),
        architecture={**weights.architecture, "embedding_size": weights.embedding_size},
        frame_settings=dict(weights.frame_settings),
        folded=folded,
        sha256=sha256,
        extra={"licence": weights.licence, "attribution": weights.attribution},
    )


def _existing_file(source: Any) -> Path:
    if not isinstance(source, (str, os.PathLike)) or (
        Path(source).suffix.lower() not in SUFFIXES  # also catches the empty string
    ):
        raise ValueError(
            f"There are no pre-trained weights named {source!r}; known: {sorted(REGISTRY)}. To "
            f"read a file, pass its path with the suffix {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}."
        )
    path = Path(source).expanduser().resolve()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{path} {what}. Pass the path of a checkpoint, or one of the registered names "
            f"{sorted(REGISTRY)}."
        )
    return path


@lru_cache(maxsize=4)
def _read(path: Path, size: int, changed: int) -> tuple[Contents, dict[str, Any], bool]:
    """Read a file once per process; size and time of change notice another file."""
    contents = read_file(path)
    # Files keep tensors in float16 to be small; what is computed with is the same everywhere.
    state = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in contents.state.items()
    }
    architecture = contents.architecture or infer_architecture(state, path)
    return contents._replace(state=state), architecture, is_folded(state)
