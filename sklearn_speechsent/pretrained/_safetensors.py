"""Files of tensors with records as JSON beside them: written at once, read without running any."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from sklearn_speechsent._version import __version__

#: Entry of a file's metadata that holds all records, as JSON.
_METADATA = "sklearn_speechsent"


def target_path(path: str | os.PathLike[str]) -> Path:
    """Absolute path of a file to write, once its suffix is right."""
    target = Path(path).expanduser().resolve()
    if target.suffix.lower() != ".safetensors":
        raise ValueError(f"{target} must end in .safetensors, the format it is written in.")
    return target


def write_safetensors(
    target: Path, state: Mapping[str, torch.Tensor], records: Mapping[str, Any]
) -> Path:
    """Write tensors and records; a crash leaves what was there before.

    Raises a TypeError if JSON cannot hold a record, which the message names.
    """
    from safetensors.torch import save

    records = {"version": __version__, **records}
    # One entry: safetensors writes several in random order, and equal files are equal bytes.
    metadata = {_METADATA: json.dumps({name: _plain(name, records[name]) for name in records})}
    content = save({key: tensor.contiguous() for key, tensor in state.items()}, metadata)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def read_safetensors(
    path: Path, names: tuple[str, ...], writer: str
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors of a file, and the records of these names, None where it has none.

    Raises a ValueError if the file is damaged; ``writer`` is named as what writes good ones.
    """
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
            f"{writer}."
        ) from exception
    records = records if isinstance(records, dict) else {}
    return state, {name: records.get(name) for name in names}


def unreadable(path: Path, kind: str, cause: BaseException) -> ValueError:
    """Error about a file that is not what its suffix says."""
    first_line = next(iter(str(cause).splitlines()), "") or type(cause).__name__
    return ValueError(
        f"{path} ({path.stat().st_size} bytes) cannot be read as {kind}: {first_line[:200]} "
        "The file is damaged, incomplete or of another kind. Replace it."
    )


def _plain(name: str, record: Any) -> Any:
    """Record in types that JSON has."""

    def plain(scalar: Any) -> Any:
        if hasattr(scalar, "item"):  # numpy's numbers
            return scalar.item()
        raise TypeError(f"{name} holds a {type(scalar).__name__}, which JSON cannot hold.")

    return json.loads(json.dumps(record, default=plain))
