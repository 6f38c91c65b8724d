"""Checkpoints as safetensors, which hold their architecture and front end with the tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.pretrained._safetensors import target_path, write_safetensors
from sklearn_speechsent.pretrained.building import first_mismatch, outline
from sklearn_speechsent.pretrained.layout import (
    check_architecture,
    check_frame_settings_record,
    clean_state,
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

    The file appears at once or not at all: a crash leaves what was there before.

    Parameters
    ----------
    path : str or path-like
        File to write, with the suffix ``.safetensors``. Its folder is made if need be.
    network_state : mapping of str to Tensor
        State dict of a :class:`~sklearn_speechsent.nn.SpeakerResNet`; a speaker classifier
        (``projection``) is left out.
    architecture : mapping
        Arguments the network was built with: ``n_mels``, ``widths``, ``depths``, ``se_ratio`` and
        ``embedding_size``.
    frame_settings : mapping
        Settings of the frames it was trained on, such as ``UtteranceFrames.frame_settings``.
    extra : mapping, optional
        What else to keep, as far as JSON can hold it: licence, attribution, scores.

    Returns
    -------
    pathlib.Path
        Absolute path of the file.

    Raises
    ------
    ValueError
        If the suffix is another one, the architecture or the front end is incomplete, or the
        tensors are not those of the architecture.
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
    ...     checkpoint = load_weights(path)
    >>> checkpoint.architecture == settings, checkpoint.extra
    (True, {'licence': 'CC BY 4.0'})
    """
    target = target_path(path)
    architecture = check_architecture(architecture, "architecture")
    frame_settings = check_frame_settings_record(frame_settings, "frame_settings")
    state = clean_state(network_state, "network_state")
    check_state(outline(architecture), architecture, state)
    records = {
        "architecture": architecture,
        "frame_settings": frame_settings,
        "extra": dict(extra or {}),
    }
    return write_safetensors(target, state, records)


def check_state(
    network: torch.nn.Module, architecture: Mapping[str, Any], state: Mapping[str, torch.Tensor]
) -> None:
    """Refuse to save tensors that are not those of a network of this architecture.

    Parameters
    ----------
    network : Module
        Of shapes alone.
    architecture : mapping
        Arguments it was built with.
    state : mapping of str to Tensor

    Raises
    ------
    ValueError
        If a tensor is missing, has another shape or is unexpected.
    """
    mismatch = first_mismatch(network.state_dict(), state, strict=True)
    if mismatch is not None:
        raise ValueError(
            f"network_state is not that of the architecture {architecture}: {mismatch}. Pass the "
            "arguments the network was built with."
        )
