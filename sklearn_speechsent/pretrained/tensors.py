"""The one reader and the one writer of files of tensors and of the records that belong to them.

Files are written as safetensors, whose only entry of metadata holds all records as JSON; state
dicts of torch and ONNX exports are read as well. Reading never runs code of a file.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sklearn_speechsent._version import __version__
from sklearn_speechsent.pretrained.architecture import check_tensors, empty_network
from sklearn_speechsent.pretrained.onnx_export import read_folded_resnet
from sklearn_speechsent.pretrained.registry import ENCODER, SPEAKER, VAD, find_file
from sklearn_speechsent.utils.files import FileVersion, atomic_write, file_sha256, file_version

#: Entry of a file's metadata that holds all records, as JSON.
_METADATA = "sklearn_speechsent"
#: Suffixes of files that can hold each kind of network.
_SUFFIXES = {
    SPEAKER: (".onnx", ".pt", ".pth", ".safetensors"),
    VAD: (".safetensors",),
    ENCODER: (".pt", ".safetensors"),
}
#: Remedy if a file holds another kind.
_REMEDIES = {
    SPEAKER: "Pass it to SpeakerEmbedder(weights=...) or to load_weights.",
    VAD: "Pass it to VoiceActivityDetector(weights=...) or to load_vad_weights.",
}
# After the embedding: the classifier over the training speakers, and the second half of
# embeddings of two layers. After the encoder of Whisper: its decoder. Nothing here uses them.
_LEFT_OUT = ("projection.", "seg_bn_1.", "seg_2.", "decoder.")


class TensorFile(NamedTuple):
    """Content of a file of tensors.

    Parameters
    ----------
    name : str
        Name in the registry, or the path as it was given.
    path : Path
    sha256 : str
    state : dict of str to Tensor
        Those with a fraction in float32, whatever the file holds them in. The dict is new, the
        tensors are shared: they must not be changed in place.
    architecture, frame_settings : object
        As the file records them, not validated; None if it does not.
    extra : dict
        What else is known: licence, attribution, data, scores.
    """

    name: str
    path: Path
    sha256: str
    state: dict[str, torch.Tensor]
    architecture: Any
    frame_settings: Any
    extra: dict[str, Any]


def read_tensors(source: Any, kind: str) -> TensorFile:
    """Read a network by name or from a file, once per process until the file changes.

    Parameters
    ----------
    source : str or path-like
        Name in the registry, or path of a file.
    kind : str
        ``SPEAKER``, ``VAD`` or ``ENCODER``.

    Returns
    -------
    TensorFile
        For a name, with the registry's architecture, frame settings, licence and attribution.

    Raises
    ------
    FileNotFoundError
        If the file is not there; the message says how to get it.
    ValueError
        If the file is damaged, of another kind, another one than registered, or holds Python
        objects.
    """
    path, entry = find_file(source, kind, _SUFFIXES[kind])
    state, records = _read(file_version(path))
    _check_kind(records, kind, path)
    extra = records.get("extra")
    content = TensorFile(
        name=os.fspath(source),
        path=path,
        sha256=file_sha256(path),
        state=dict(state),
        architecture=records.get("architecture"),
        frame_settings=records.get("frame_settings"),
        extra=dict(extra) if isinstance(extra, dict) else {},
    )
    if entry is None:
        return content
    return content._replace(
        architecture=entry.architecture,
        frame_settings=entry.frame_settings,
        extra=content.extra | {"licence": entry.licence, "attribution": entry.attribution},
    )


def write_tensors(
    path: str | os.PathLike[str],
    kind: str,
    network_class: type[torch.nn.Module],
    network_state: Mapping[str, torch.Tensor],
    *,
    architecture: Mapping[str, Any],
    frame_settings: Mapping[str, Any],
    extra: Mapping[str, Any] | None,
) -> Path:
    """Write a network with its records; a crash leaves what was there before.

    Equal tensors and records are equal bytes.

    Parameters
    ----------
    path : str or path-like
        With the suffix ``.safetensors``. Its folder is created if needed.
    kind : str
        ``SPEAKER`` or ``VAD``.
    network_class : type
        Class whose tensors they must be.
    network_state : mapping of str to Tensor
    architecture : mapping
        Validated arguments of the class.
    frame_settings : mapping
        Validated record of the frames.
    extra : mapping or None

    Returns
    -------
    pathlib.Path
        Absolute path of the file.

    Raises
    ------
    ValueError
        If the suffix is another one, or the tensors are not those of the architecture.
    TypeError
        If JSON cannot hold a record; the message names it.
    """
    from safetensors.torch import save

    target = Path(path).expanduser().resolve()
    if target.suffix.lower() != ".safetensors":
        raise ValueError(f"{target} must end in .safetensors, the format it is written in.")
    state = _clean(network_state, "network_state")
    check_tensors(
        empty_network(network_class, architecture),
        state,
        "network_state",
        strict=True,
        remedy="Pass the arguments the network was built with as architecture=.",
    )
    records = {
        "version": __version__,
        # A file without a kind holds a speaker network.
        **({} if kind == SPEAKER else {"kind": kind}),
        "architecture": architecture,
        "frame_settings": frame_settings,
        "extra": dict(extra or {}),
    }
    # One entry: safetensors writes several in random order.
    metadata = {_METADATA: json.dumps({name: _plain(name, records[name]) for name in records})}
    content = save({key: tensor.contiguous() for key, tensor in state.items()}, metadata)
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(target, content)
    return target


@lru_cache(maxsize=4)
def _read(version: FileVersion) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors in float32 and records of a file."""
    path = version.path
    records: dict[str, Any] = {}
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        state = read_folded_resnet(path)
    elif suffix == ".safetensors":
        state, records = _read_safetensors(path)
    else:
        state = _read_torch(path)
    # Files hold tensors in float16 to be small; computations are in float32 everywhere.
    return _clean(state, path, torch.float32), records


def _check_kind(records: Mapping[str, Any], kind: str, path: Path) -> None:
    found = records.get("kind")
    if found == kind or (found is None and kind != VAD):  # tensors tell the others
        return
    if found is not None:
        remedy = _REMEDIES.get(str(found), "Replace it.")
        raise ValueError(f"{path} holds a {found} and not a {kind}. {remedy}")
    raise ValueError(
        f"{path} does not say that it holds a {kind}; it may be a speaker network. Pass a file "
        "that VoiceActivityDetector.save_weights or save_vad_weights wrote."
    )


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TorchScript, which is refused later
            # Mapped, so that the speaker classifier, nearly half of the file, is never read.
            mapped = zipfile.is_zipfile(path)
            content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as exception:
        if found := re.search(r"(?:GLOBAL|global:?) ([\w.]+)", str(exception)):
            raise ValueError(
                f"{path} holds other Python objects than tensors ({found[1]}). Rebuilding them "
                "could run code from the file, so it is refused. If you trust its origin, save "
                "its tensors alone: torch.save(network.state_dict(), path)."
            ) from None
        raise unreadable(path, "a state dict of torch", exception) from exception
    except Exception as exception:  # torch passes on any error of zip, pickle and tensors
        raise unreadable(path, "a state dict of torch", exception) from exception
    if isinstance(content, dict) and set(content) == {"dims", "model_state_dict"}:
        return content["model_state_dict"]  # as OpenAI writes Whisper
    return content


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as exception:
        raise unreadable(path, "safetensors", exception) from exception
    try:
        records = json.loads(metadata.get(_METADATA, "{}"))
    except ValueError as exception:
        raise ValueError(
            f"{path}: the metadata {_METADATA!r} are not JSON ({exception}). Write the file with "
            "save_weights or save_vad_weights."
        ) from exception
    return state, records if isinstance(records, dict) else {}


def unreadable(path: Path, kind: str, cause: BaseException) -> ValueError:
    """Error about a file that is not what its suffix says.

    Parameters
    ----------
    path : Path
    kind : str
        What it should be.
    cause : exception

    Returns
    -------
    ValueError
    """
    first_line = next(iter(str(cause).splitlines()), "") or type(cause).__name__
    return ValueError(
        f"{path} ({path.stat().st_size} bytes) cannot be read as {kind}: {first_line[:200]} "
        "The file is damaged, incomplete or of another kind. Replace it."
    )


def _clean(state: Any, source: Any, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """Copies of the tensors of a network, without those that only training needs.

    Those with a fraction are converted to ``dtype``. ``state`` may be mapped from a file: nothing
    of the result refers to it.
    """
    remedy = "Save the state dict alone: torch.save(network.state_dict(), path)."
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{source} holds a {type(state).__name__}, not a dict of tensors. {remedy}"
        )
    tensors = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{source} has a {type(value).__name__} under {key!r} where a tensor is expected. "
                f"{remedy}"
            )
        if key.startswith(_LEFT_OUT):
            continue
        if key.endswith("num_batches_tracked"):
            wanted = torch.int64  # WeSpeaker averages networks, and with them these counts
        else:
            wanted = dtype if dtype and value.is_floating_point() else value.dtype
        tensors[key] = value.detach().to(wanted, copy=True)
    return tensors


def _plain(name: str, record: Any) -> Any:
    """Record in types that JSON has."""

    def plain(scalar: Any) -> Any:
        if hasattr(scalar, "item"):  # numpy's numbers
            return scalar.item()
        raise TypeError(f"{name} holds a {type(scalar).__name__}, which JSON cannot hold.")

    return json.loads(json.dumps(record, default=plain))
