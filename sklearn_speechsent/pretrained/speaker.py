"""Weights of speaker networks: read from the registry or any file, built, and written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.nn.resnet import SpeakerResNet
from sklearn_speechsent.pretrained.architecture import (
    SPEAKER_ARCHITECTURE,
    build,
    check_architecture,
    infer_architecture,
    is_folded,
)
from sklearn_speechsent.pretrained.frame_settings import check_record
from sklearn_speechsent.pretrained.registry import SPEAKER, WESPEAKER_FRAME_SETTINGS
from sklearn_speechsent.pretrained.tensors import read_tensors, write_tensors


@dataclass(frozen=True, eq=False)
class SpeakerWeights:
    """Tensors of a speaker network and all that is needed to use them.

    Parameters
    ----------
    name : str
        Name in the registry, or the path as it was given.
    state : dict of str to Tensor
        Tensors under WeSpeaker's key names, those with a fraction in float32 whatever the file
        holds them in. The dict is new, the tensors are shared: they must not be changed in place.
    architecture : mapping
        Arguments of :class:`~sklearn_speechsent.nn.SpeakerResNet`: ``n_mels``, ``widths``,
        ``depths``, ``se_ratio`` and ``embedding_size``.
    frame_settings : mapping
        How the frames were made that the network was trained on, as
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
        by :func:`save_weights`). Files that do not record their frames are taken to expect those
        of WeSpeaker's models: Kaldi's log-mel filter bank at 16 kHz with a Hamming window and
        the mean of each utterance subtracted, with the number of bins that the shapes tell.

    Returns
    -------
    SpeakerWeights

    Raises
    ------
    FileNotFoundError
        If the file is not there; the message says how to get it.
    ValueError
        If the file is damaged, of another kind, another one than registered, or holds Python
        objects.

    See Also
    --------
    fetch_weights : Download a file of the registry.
    build_network : The network of these weights.

    Examples
    --------
    >>> import tempfile, torch
    >>> from sklearn_speechsent.nn import SpeakerResNet
    >>> from sklearn_speechsent.pretrained import load_weights
    >>> network = SpeakerResNet(16, n_mels=24, widths=(4, 8), depths=(1, 2), se_ratio=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(network.state_dict(), f"{folder}/network.pt")
    ...     weights = load_weights(f"{folder}/network.pt")
    >>> weights.architecture
    {'n_mels': 24, 'widths': (4, 8), 'depths': (1, 2), 'se_ratio': None, 'embedding_size': 16}
    >>> weights.frame_settings["window"], weights.folded
    ('hamming', False)
    """
    if hasattr(source, "to_weights"):
        return source.to_weights()
    content = read_tensors(source, SPEAKER)
    if content.architecture is None:
        architecture = infer_architecture(content.state, content.path)
    else:
        architecture = check_architecture(content.architecture, SPEAKER_ARCHITECTURE, content.path)
    frame_settings = content.frame_settings
    if frame_settings is None:
        frame_settings = {**WESPEAKER_FRAME_SETTINGS, "n_mels": architecture["n_mels"]}
    return SpeakerWeights(
        name=content.name,
        state=content.state,
        architecture=architecture,
        frame_settings=check_record(frame_settings, content.path),
        folded=is_folded(content.state),
        sha256=content.sha256,
        extra=content.extra,
    )


def save_weights(
    path: str | os.PathLike[str],
    network_state: Mapping[str, torch.Tensor],
    *,
    architecture: Mapping[str, Any],
    frame_settings: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a speaker network so that :func:`load_weights` needs nothing but the file.

    The file is written completely or not at all: a crash leaves what was there before.

    Parameters
    ----------
    path : str or path-like
        File to write, with the suffix ``.safetensors``. Its folder is created if needed.
    network_state : mapping of str to Tensor
        State dict of a :class:`~sklearn_speechsent.nn.SpeakerResNet`, in the precision it is to be
        saved in; a speaker classifier (``projection``) is left out.
    architecture : mapping
        Arguments the network was built with: ``n_mels``, ``widths``, ``depths``, ``se_ratio`` and
        ``embedding_size``.
    frame_settings : mapping
        How the frames were made that it was trained on, such as
        ``UtteranceFrames.frame_settings``.
    extra : mapping, optional
        What else to save, as far as JSON can hold it: licence, attribution, scores.

    Returns
    -------
    pathlib.Path
        Absolute path of the file.

    Raises
    ------
    ValueError
        If the suffix is another one, the architecture or the frame settings are incomplete, or
        the tensors are not those of the architecture.
    TypeError
        If JSON cannot hold a value of ``frame_settings`` or ``extra``.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_speechsent.nn import SpeakerResNet
    >>> from sklearn_speechsent.pretrained import load_weights, save_weights
    >>> settings = {"n_mels": 24, "widths": (4, 8), "depths": (1, 1), "se_ratio": 2}
    >>> settings["embedding_size"] = 16
    >>> network = SpeakerResNet(**settings)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_weights(
    ...         f"{folder}/mine.safetensors",
    ...         network.state_dict(),
    ...         architecture=settings,
    ...         frame_settings={"n_mels": 24, "cmn": None},
    ...         extra={"licence": "CC BY 4.0"},
    ...     )
    ...     weights = load_weights(path)
    >>> weights.architecture == settings, weights.extra
    (True, {'licence': 'CC BY 4.0'})
    """
    return write_tensors(
        path,
        SPEAKER,
        SpeakerResNet,
        network_state,
        architecture=check_architecture(architecture, SPEAKER_ARCHITECTURE, "architecture"),
        frame_settings=check_record(frame_settings, "frame_settings"),
        extra=extra,
    )


def build_network(weights: SpeakerWeights) -> SpeakerResNet:
    """Speaker network with the tensors of its weights, in eval mode.

    Parameters
    ----------
    weights : SpeakerWeights
        Result of :func:`load_weights`.

    Returns
    -------
    SpeakerResNet
        With tensors of its own.

    Raises
    ------
    ValueError
        If the tensors are not those of the architecture; the message names the first that is
        missing, has another shape or is unexpected.

    Examples
    --------
    >>> import tempfile, torch
    >>> from sklearn_speechsent.nn import SpeakerResNet
    >>> from sklearn_speechsent.pretrained import build_network, load_weights
    >>> network = SpeakerResNet(16, n_mels=24, widths=(4, 8), depths=(1, 2), se_ratio=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(network.state_dict(), f"{folder}/network.pt")
    ...     network = build_network(load_weights(f"{folder}/network.pt"))
    >>> network(torch.rand(2, 9, 24), torch.tensor([3, 9])).shape
    torch.Size([2, 16])
    """
    return build(SpeakerResNet, weights.architecture, weights.state, weights.name)
