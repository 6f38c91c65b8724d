"""Weights of voice activity detectors: read from the registry or a file, built, and written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.nn.unet import SpeechUNet
from sklearn_speechsent.pretrained.architecture import VAD_ARCHITECTURE, build, check_architecture
from sklearn_speechsent.pretrained.frame_settings import check_record
from sklearn_speechsent.pretrained.registry import VAD
from sklearn_speechsent.pretrained.tensors import read_tensors, write_tensors


@dataclass(frozen=True, eq=False)
class VADWeights:
    """Tensors of a voice activity detector and all that is needed to use them.

    Parameters
    ----------
    name : str
        Name in the registry, or the path as it was given.
    state : dict of str to Tensor
        Tensors of a :class:`~sklearn_speechsent.nn.SpeechUNet`, those with a fraction in float32
        whatever the file holds them in. The dict is new, the tensors are shared: they must not be
        changed in place.
    architecture : mapping
        Arguments of the network: ``n_mels`` and ``widths``.
    frame_settings : mapping
        How the frames were made that the network was trained on, as
        ``UtteranceFrames.frame_settings``.
    sha256 : str
        Checksum of the file.
    extra : mapping, default={}
        What else is known: licence, data, scores.
    """

    name: str
    state: dict[str, torch.Tensor] = field(repr=False)
    architecture: Mapping[str, Any]
    frame_settings: Mapping[str, Any]
    sha256: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def load_vad_weights(source: str | os.PathLike[str]) -> VADWeights:
    """Read a voice activity detector by name or from a file.

    Reading never runs code of the file and never downloads anything. A file is read once per
    process, and again when it has changed.

    Parameters
    ----------
    source : str or path-like
        ``"speechsent-unet-vad"``, which ships with the package, or a file that
        ``VoiceActivityDetector.save_weights`` or :func:`save_vad_weights` wrote.

    Returns
    -------
    VADWeights

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If the file is damaged, holds another kind of network, or is another one than registered.

    See Also
    --------
    build_vad : The network of these weights.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import load_vad_weights
    >>> load_vad_weights("speechsent-unet-vad").architecture["n_mels"]
    80
    """
    content = read_tensors(source, VAD)
    architecture = check_architecture(content.architecture, VAD_ARCHITECTURE, content.path)
    return VADWeights(
        name=content.name,
        state=content.state,
        architecture=architecture,
        frame_settings=_check_no_normalisation(
            content.frame_settings, architecture["n_mels"], content.path
        ),
        sha256=content.sha256,
        extra=content.extra,
    )


def save_vad_weights(
    path: str | os.PathLike[str],
    network_state: Mapping[str, torch.Tensor],
    *,
    architecture: Mapping[str, Any],
    frame_settings: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a voice activity detector so that :func:`load_vad_weights` needs nothing but the file.

    The file is written completely or not at all: a crash leaves what was there before.

    Parameters
    ----------
    path : str or path-like
        File to write, with the suffix ``.safetensors``. Its folder is created if needed.
    network_state : mapping of str to Tensor
        State dict of a :class:`~sklearn_speechsent.nn.SpeechUNet`, in the precision it is to be
        saved in.
    architecture : mapping
        Arguments the network was built with, its attribute ``architecture``.
    frame_settings : mapping
        How the frames were made that it was trained on, such as
        ``UtteranceFrames.frame_settings``.
    extra : mapping, optional
        What else to save, as far as JSON can hold it: licence, data, scores.

    Returns
    -------
    pathlib.Path
        Absolute path of the file.

    Raises
    ------
    ValueError
        If the suffix is another one, the architecture or the frame settings are incomplete, the
        frames were mean-normalised, or the tensors are not those of the architecture.
    TypeError
        If JSON cannot hold a value of ``frame_settings`` or ``extra``.

    Examples
    --------
    >>> import tempfile, torch
    >>> from sklearn_speechsent.nn import SpeechUNet
    >>> from sklearn_speechsent.pretrained import load_vad_weights, save_vad_weights
    >>> network = SpeechUNet(24, widths=(4, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_vad_weights(
    ...         f"{folder}/mine.safetensors",
    ...         network.state_dict(),
    ...         architecture=network.architecture,
    ...         frame_settings={"n_mels": 24, "sample_rate": 8000},
    ...     )
    ...     weights = load_vad_weights(path)
    >>> weights.architecture
    {'n_mels': 24, 'widths': (4, 8)}
    """
    architecture = check_architecture(architecture, VAD_ARCHITECTURE, "architecture")
    return write_tensors(
        path,
        VAD,
        SpeechUNet,
        network_state,
        architecture=architecture,
        frame_settings=_check_no_normalisation(
            frame_settings, architecture["n_mels"], "frame_settings"
        ),
        extra=extra,
    )


def build_vad(weights: VADWeights) -> SpeechUNet:
    """U-net with the tensors of its weights, in eval mode.

    Parameters
    ----------
    weights : VADWeights
        Result of :func:`load_vad_weights`.

    Returns
    -------
    SpeechUNet
        In float32, with tensors of its own.

    Raises
    ------
    ValueError
        If the tensors are not those of the architecture; the message names the first that does
        not fit.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import build_vad, load_vad_weights
    >>> type(build_vad(load_vad_weights("speechsent-unet-vad"))).__name__
    'SpeechUNet'
    """
    return build(SpeechUNet, weights.architecture, weights.state, weights.name)


def _check_no_normalisation(frame_settings: Any, n_mels: int, source: Any) -> dict[str, Any]:
    """Record of frames that fit the network and still have their loudness."""
    if isinstance(frame_settings, Mapping):
        frame_settings = {"cmn": None, **frame_settings}
    frame_settings = check_record(frame_settings, source)
    if frame_settings["n_mels"] != n_mels:
        raise ValueError(
            f"{source}: the frames have n_mels={frame_settings['n_mels']!r}, the network "
            f"n_mels={n_mels}. They must be equal."
        )
    if frame_settings["cmn"] is not None:
        raise ValueError(
            f"{source}: a voice activity detector needs the loudness of frames, but they have "
            f"cmn={frame_settings['cmn']!r}. Train it on frames without mean normalisation."
        )
    return frame_settings
