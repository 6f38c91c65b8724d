"""Readers of the file formats of checkpoints, none of which runs anything of a file."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sklearn_speechsent.pretrained._safetensors import read_safetensors, unreadable
from sklearn_speechsent.pretrained.layout import (
    check_architecture,
    check_frame_settings_record,
    clean_state,
)
from sklearn_speechsent.pretrained.onnx_layout import read_folded_resnet

SUFFIXES = (".onnx", ".pt", ".pth", ".safetensors")
#: How files of a voice activity detector say what they are; those of speaker networks do not.
VAD = "voice activity detector"


class Contents(NamedTuple):
    """What a file holds; None for what it does not record."""

    state: dict[str, torch.Tensor]
    architecture: dict[str, Any] | None = None
    frame_settings: dict[str, Any] | None = None
    extra: dict[str, Any] = {}


def read_file(path: Path) -> Contents:
    """Read a checkpoint.

    Parameters
    ----------
    path : Path
        File with one of the `SUFFIXES`.

    Returns
    -------
    Contents

    Raises
    ------
    ValueError
        If the file is damaged, of another kind than its suffix says, or holds Python objects.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return Contents(read_folded_resnet(path))
    if suffix == ".safetensors":
        return _read_safetensors(path)
    return Contents(_read_torch(path))


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TorchScript, which is refused just below
            # Mapped, so that the speaker classifier, nearly half of the file, is never read.
            mapped = zipfile.is_zipfile(path)
            state = torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as exception:
        if found := re.search(r"(?:GLOBAL|global:?) ([\w.]+)", str(exception)):
            raise ValueError(
                f"{path} holds other Python objects than tensors ({found[1]}). Rebuilding them "
                "could run code from the file, so it is refused. If you trust where it comes "
                "from, save its tensors alone: torch.save(network.state_dict(), path)."
            ) from None
        raise unreadable(path, "a torch checkpoint", exception) from exception
    except Exception as exception:  # torch raises what zip, pickle and tensors happen to raise
        raise unreadable(path, "a torch checkpoint", exception) from exception
    return clean_state(state, path)


def _read_safetensors(path: Path) -> Contents:
    names = ("architecture", "frame_settings", "extra", "kind")
    state, records = read_safetensors(path, names, "save_weights")
    architecture, frame_settings, extra, kind = records.values()
    if kind == VAD:
        raise ValueError(
            f"{path} holds a voice activity detector and no speaker network. Pass it to "
            "VoiceActivityDetector(weights=...) or to load_vad_weights."
        )
    return Contents(
        clean_state(state, path),
        None if architecture is None else check_architecture(architecture, path),
        None if frame_settings is None else check_frame_settings_record(frame_settings, path),
        extra if isinstance(extra, dict) else {},
    )
