"""Checkpoints as safetensors, which hold their architecture and front end with the tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from sklearn_speechsent._version import __version__
from sklearn_speechsent.pretrained.building import first_mismatch, outline
from sklearn_speechsent.pretrained.layout import (
    check_architecture,
    check_frontend_record,
    clean_state,
)


def save_checkpoint(
    path: str | os.PathLike[str],
    network_state: Mapping[str, torch.Tensor],
    *,
    architecture: Mapping[str, Any],
    frontend: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a speaker network so that :func:`load_checkpoint` needs nothing but the file.

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
    frontend : mapping
        Settings of the frames it was trained on, such as ``UtteranceFrames.frontend``.
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
        If JSON cannot hold a value of ``frontend`` or ``extra``.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_speechsent.nn import SpeakerResNet
    >>> from sklearn_speechsent.pretrained import load_checkpoint, save_checkpoint
    >>> settings = {"n_mels": 24, "widths": (4, 8), "depths": (1, 1), "se_ratio": 2}
    >>> settings["embedding_size"] = 16
    >>> network = SpeakerResNet(**settings)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_checkpoint(
    ...         f"{folder}/mine.safetensors",
    ...         network.state_dict(),
    ...         architecture=settings,
    ...         frontend={"n_mels": 24, "cmn": None},
    ...         extra={"licence": "CC BY 4.0"},
    ...     )
    ...     checkpoint = load_checkpoint(path)
    >>> checkpoint.architecture == settings, checkpoint.extra
    (True, {'licence': 'CC BY 4.0'})
    """
    from safetensors.torch import save

    target = Path(path).expanduser().resolve()
    if target.suffix.lower() != ".safetensors":
        raise ValueError(f"{target} must end in .safetensors, the format it is written in.")
    architecture = check_architecture(architecture, "architecture")
    frontend = check_frontend_record(frontend, "frontend")
    state = clean_state(network_state, "network_state")
    mismatch = first_mismatch(outline(architecture).state_dict(), state, strict=True)
    if mismatch is not None:
        raise ValueError(
            f"network_state is not that of the architecture {architecture}: {mismatch}. Pass the "
            "arguments the network was built with."
        )
    metadata = {
        "architecture": _to_json("architecture", architecture),
        "frontend": _to_json("frontend", frontend),
        "sklearn_speechsent": _to_json("version", __version__),
        "extra": _to_json("extra", dict(extra or {})),
    }
    content = save({key: tensor.contiguous() for key, tensor in state.items()}, metadata)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _to_json(name: str, value: Any) -> str:
    def plain(scalar: Any) -> Any:
        if hasattr(scalar, "item"):  # numpy's numbers
            return scalar.item()
        raise TypeError(f"{name} holds a {type(scalar).__name__}, which JSON cannot hold.")

    return json.dumps(value, default=plain)
