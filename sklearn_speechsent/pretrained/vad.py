"""Files of voice activity detectors: what ships with the package, and what users trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.nn.unet import SpeechUNet
from sklearn_speechsent.pretrained._safetensors import (
    read_safetensors,
    target_path,
    write_safetensors,
)
from sklearn_speechsent.pretrained.building import first_mismatch
from sklearn_speechsent.pretrained.layout import (
    check_counts,
    check_frame_settings_record,
    clean_state,
)
from sklearn_speechsent.pretrained.readers import VAD
from sklearn_speechsent.pretrained.saving import check_state

#: Detectors that are part of the package.
SHIPPED_VAD = ("speechsent-unet-vad",)
_ARCHITECTURE = ("n_mels", "widths")
_FOLDER = Path(__file__).resolve().parent / "weights"


@dataclass(frozen=True, eq=False)
class VADWeights:
    """Tensors of a voice activity detector and all that is needed to use them.

    Parameters
    ----------
    name : str
        Name of the shipped detector, or the path as it was given.
    state : dict of str to Tensor
        Tensors of a :class:`~sklearn_speechsent.nn.SpeechUNet`, those with a fraction in float32
        whatever the file keeps them in.
    architecture : mapping
        Arguments of the network: ``n_mels`` and ``widths``.
    frame_settings : mapping
        Settings of the frames it was trained on, as ``UtteranceFrames.frame_settings``.
    extra : mapping, default={}
        What else is known: licence, data, scores.
    """

    name: str
    state: dict[str, torch.Tensor] = field(repr=False)
    architecture: Mapping[str, Any]
    frame_settings: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)


def load_vad_weights(source: str | os.PathLike[str]) -> VADWeights:
    """Read a voice activity detector by name or from a file.

    Reading never runs code of the file and never downloads anything.

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
        If the file is damaged or holds something else.

    See Also
    --------
    build_vad : The network of a checkpoint.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import load_vad_weights
    >>> load_vad_weights("speechsent-unet-vad").architecture["n_mels"]
    80
    """
    path = _existing_file(source)
    names = ("kind", "architecture", "frame_settings", "extra")
    state, records = read_safetensors(path, names, "VoiceActivityDetector.save_weights")
    kind, architecture, frame_settings, extra = records.values()
    if kind != VAD:
        raise ValueError(
            f"{path} holds no voice activity detector"
            + (", it may be a speaker network. " if architecture is not None else ". ")
            + "Pass a file that VoiceActivityDetector.save_weights wrote."
        )
    tensors = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in clean_state(state, path).items()
    }
    architecture = check_counts(architecture, _ARCHITECTURE, path)
    return VADWeights(
        name=os.fspath(source),
        state=tensors,
        architecture=architecture,
        frame_settings=_check_levels(frame_settings, architecture["n_mels"], path),
        extra=extra if isinstance(extra, dict) else {},
    )


def build_vad(checkpoint: VADWeights) -> SpeechUNet:
    """U-net with the tensors of a checkpoint, in eval mode.

    Parameters
    ----------
    checkpoint : VADWeights
        Result of :func:`load_vad_weights`.

    Returns
    -------
    SpeechUNet
        In float32, with tensors of its own.

    Raises
    ------
    ValueError
        If the tensors are not those of the checkpoint's architecture; the message names the first
        that does not fit.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import build_vad, load_vad_weights
    >>> type(build_vad(load_vad_weights("speechsent-unet-vad"))).__name__
    'SpeechUNet'
    """
    network = _outline(checkpoint.architecture)
    mismatch = first_mismatch(network.state_dict(), checkpoint.state, strict=True)
    if mismatch is not None:
        raise ValueError(
            f"{checkpoint.name} is not of the architecture {dict(checkpoint.architecture)} that "
            f"it states: {mismatch}. Replace the file."
        )
    network.to_empty(device="cpu").load_state_dict(checkpoint.state)
    return network.eval()


def save_vad_weights(
    path: str | os.PathLike[str],
    network_state: Mapping[str, torch.Tensor],
    *,
    architecture: Mapping[str, Any],
    frame_settings: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a voice activity detector so that :func:`load_vad_weights` needs nothing but the file.

    The file appears at once or not at all: a crash leaves what was there before.

    Parameters
    ----------
    path : str or path-like
        File to write, with the suffix ``.safetensors``. Its folder is made if need be.
    network_state : mapping of str to Tensor
        State dict of a :class:`~sklearn_speechsent.nn.SpeechUNet`, in the precision it is to be
        kept in.
    architecture : mapping
        Arguments the network was built with, its attribute ``architecture``.
    frame_settings : mapping
        Settings of the frames it was trained on, such as ``UtteranceFrames.frame_settings``.
    extra : mapping, optional
        What else to keep, as far as JSON can hold it: licence, data, scores.

    Returns
    -------
    pathlib.Path
        Absolute path of the file.

    Raises
    ------
    ValueError
        If the suffix is another one, the architecture or the front end is incomplete, the frames
        were mean-normalised, or the tensors are not those of the architecture.
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
    ...     checkpoint = load_vad_weights(path)
    >>> checkpoint.architecture
    {'n_mels': 24, 'widths': (4, 8)}
    """
    target = target_path(path)
    architecture = check_counts(architecture, _ARCHITECTURE, "architecture")
    frame_settings = _check_levels(frame_settings, architecture["n_mels"], "frame_settings")
    state = clean_state(network_state, "network_state")
    check_state(_outline(architecture), architecture, state)
    records = {
        "kind": VAD,
        "architecture": architecture,
        "frame_settings": frame_settings,
        "extra": dict(extra or {}),
    }
    return write_safetensors(target, state, records)


def _outline(architecture: Mapping[str, Any]) -> SpeechUNet:
    """Network of shapes alone, which takes neither memory nor random numbers."""
    with torch.device("meta"):
        return SpeechUNet(**architecture)


def _check_levels(frame_settings: Any, n_mels: int, source: Any) -> dict[str, Any]:
    """Record of a front end that fits the network and leaves levels as they are."""
    if isinstance(frame_settings, Mapping):
        frame_settings = {"cmn": None, **frame_settings}
    frame_settings = check_frame_settings_record(frame_settings, source)
    if frame_settings["n_mels"] != n_mels:
        raise ValueError(
            f"{source}: the front end has n_mels={frame_settings['n_mels']!r}, the network "
            f"n_mels={n_mels}. They must agree."
        )
    if frame_settings["cmn"] is not None:
        raise ValueError(
            f"{source}: a voice activity detector needs levels, but the front end has "
            f"cmn={frame_settings['cmn']!r}. Train it on frames without mean normalisation."
        )
    return frame_settings


def _existing_file(source: Any) -> Path:
    if isinstance(source, str) and source in SHIPPED_VAD:
        path = _FOLDER / f"{source}.safetensors"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist, though it ships with the package. Reinstall it: pip "
                "install --force-reinstall sklearn-speechsent."
            )
        return path
    known = ", ".join(SHIPPED_VAD)
    if not isinstance(source, (str, os.PathLike)) or (
        Path(source).suffix.lower() != ".safetensors"
    ):
        raise ValueError(
            f"There is no voice activity detector named {source!r}; known: {known}. To read a "
            "file that VoiceActivityDetector.save_weights wrote, pass its path with the suffix "
            ".safetensors."
        )
    path = Path(source).expanduser().resolve()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{path} {what}. Pass the path of a file that VoiceActivityDetector.save_weights "
            f"wrote, or the name of what ships with the package: {known}."
        )
    return path
