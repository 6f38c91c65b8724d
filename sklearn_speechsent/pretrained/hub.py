"""Models in the layout of the Hugging Face hub: folders with config.json and safetensors."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.pretrained.registry import REGISTRY
from sklearn_speechsent.pretrained.tensors import unreadable
from sklearn_speechsent.utils.files import file_sha256

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_WHOLE, _INDEX, _SHARDS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
)


@dataclass(frozen=True)
class ModelFolder:
    """Folder of a model.

    Parameters
    ----------
    name : str
        Name on the hub, or the path as it was given.
    path : Path
    revision : str or None
        Commit of the hub; None for a folder of the user's.
    config : dict
        Content of ``config.json``.
    preprocessor : dict
        Content of ``preprocessor_config.json``; empty if there is none.
    weights : tuple of Path
        Files of tensors, all safetensors.
    """

    name: str
    path: Path
    revision: str | None
    config: dict[str, Any]
    preprocessor: dict[str, Any]
    weights: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """Checksum of the file of tensors; of the checksums if there are several files."""
        found = [file_sha256(path) for path in self.weights]
        return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()

    def tensors(self, rename: Callable[[str], str | None]) -> dict[str, torch.Tensor]:
        """Tensors under other keys, those with a fraction in float32.

        Parameters
        ----------
        rename : callable
            Gives the new key of a key, None for a tensor that is not read.

        Returns
        -------
        dict of str to Tensor

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        state = {}
        for path in self.weights:
            try:
                with safe_open(str(path), framework="pt", device="cpu") as file:
                    for key in file.keys():
                        if (name := rename(key)) is not None:
                            tensor = file.get_tensor(key)
                            state[name] = tensor.float() if tensor.is_floating_point() else tensor
            except (SafetensorError, OSError) as exception:
                raise unreadable(path, "safetensors", exception) from exception
        return state


def is_model_folder(source: str | os.PathLike[str]) -> bool:
    """Whether a source of weights means a folder or a model on the hub, and not a file of weights.

    Parameters
    ----------
    source : str or path-like

    Returns
    -------
    bool
        False for names of the registry and paths of files of tensors.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained.hub import is_model_folder
    >>> is_model_folder("facebook/hubert-base-ls960"), is_model_folder("whisper-base")
    (True, False)
    """
    text = os.fspath(source)
    if text in REGISTRY or not text or Path(text).suffix.lower() in (".pt", ".safetensors"):
        return False
    return "/" in text or os.sep in text or Path(text).expanduser().is_dir()


def find_model(
    source: str | os.PathLike[str], revision: str | None, types: Collection[str]
) -> ModelFolder:
    """Folder of a model: as given, from the hub's cache, or downloaded.

    What the cache of ``huggingface_hub`` has is used without asking the hub. Only JSON and
    safetensors are downloaded, tensors only once the configuration is of a wanted type; code of
    the model is never run.

    Parameters
    ----------
    source : str or path-like
        Folder, or ``"owner/name"``.
    revision : str or None
        Commit, tag or branch; by default the newest, or the one in the cache.
    types : collection of str
        Values of ``model_type`` that can be used.

    Returns
    -------
    ModelFolder

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If the hub has no such model or revision or does not give it to this user, it is of
        another type, or has no safetensors.
    ConnectionError
        If it is not in the cache and cannot be downloaded.
    ImportError
        If it is not a folder and ``huggingface_hub`` is not installed.
    """
    name = os.fspath(source)
    path, commit = Path(name).expanduser(), None
    if path.is_dir():
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} is for models on the Hugging Face hub, and {name} is a "
                "folder. Leave revision out."
            )
    elif isinstance(source, str) and _NAME.fullmatch(source):
        path = _snapshot(name, revision, _CONFIG, _PREPROCESSOR)
        commit = path.name
    else:
        raise FileNotFoundError(
            f"The folder {path} does not exist. Pass a folder with {_CONFIG} and {_WHOLE}, or "
            "the name of a model on the Hugging Face hub, owner/name."
        )
    config = _json(path / _CONFIG, name)
    found = config.get("model_type")
    if found not in types:
        raise ValueError(
            f"{name} is a model of type {found!r}, not a speech encoder that can be used. Types "
            f"that can: {', '.join(sorted(types))}."
        )
    if commit is not None:
        _snapshot(name, commit, _WHOLE, _INDEX, _SHARDS)
    there = (path / _PREPROCESSOR).is_file()
    preprocessor = _json(path / _PREPROCESSOR, name) if there else {}
    weights = _weights(path, name, "" if commit is None else _command(name, commit))
    return ModelFolder(name, path, commit, config, preprocessor, weights)


def missing_library(cause: ImportError) -> ImportError:
    """Error about an extra that is not installed.

    Parameters
    ----------
    cause : ImportError

    Returns
    -------
    ImportError
    """
    return ImportError(
        f"A speech encoder of the Hugging Face hub needs the package transformers ({cause}): pip "
        "install sklearn-speechsent[encoders]. Models of Whisper in a folder or a file need no "
        "other package."
    )


def _snapshot(name: str, revision: str | None, *files: str) -> Path:
    """Folder in the hub's cache with these files, as far as the model has them."""
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as exception:
        raise missing_library(exception) from exception

    try:
        folder = Path(
            snapshot_download(
                name, revision=revision, allow_patterns=list(files), local_files_only=True
            )
        )
        # Some releases give a folder that lacks files.
        if any(path for pattern in files for path in folder.glob(pattern)):
            return folder
    except errors.LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except errors.GatedRepoError as exception:
        raise ValueError(
            f"{name} is a gated model. Accept its licence at https://huggingface.co/{name}, then "
            "log in on this machine: hf auth login."
        ) from exception
    except errors.RevisionNotFoundError as exception:
        raise ValueError(
            f"{name} has no revision {revision!r} on the Hugging Face hub. Pass a commit, tag or "
            "branch that it has, or leave revision out."
        ) from exception
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as exception:
        raise ValueError(
            f"There is neither a folder {name} nor a public model of this name on the Hugging "
            "Face hub. Check the spelling; for a private model, log in first: hf auth login."
        ) from exception
    except Exception as exception:  # those of its HTTP client have no common class
        first_line = next(iter(str(exception).splitlines()), "")
        raise ConnectionError(
            f"{name} is not in the cache of the Hugging Face hub, and could not be downloaded: "
            f"{type(exception).__name__}: {first_line[:200]} Where there is a network, run: "
            f"{_command(name, revision)}. Copy the folder whose path it prints, and pass the copy "
            "as model."
        ) from exception


def _command(name: str, revision: str | None) -> str:
    """Command that downloads a model."""
    at = "" if revision is None else f" --revision {revision}"
    return f"hf download {name}{at} --include '*config.json' --include 'model*.safetensors*'"


def _weights(path: Path, name: str, command: str) -> tuple[Path, ...]:
    """Files of tensors of a folder; the command downloads them, if there is one."""
    files = [path / _WHOLE]
    if not files[0].is_file() and (path / _INDEX).is_file():
        index = _json(path / _INDEX, name).get("weight_map", {})
        files = [
            path / file for file in sorted({Path(str(value)).name for value in index.values()})
        ]
    missing = [file.name for file in files if not file.is_file()]
    if files and not missing:
        return tuple(files)
    again = f" If its download was interrupted, run: {command}." if command else ""
    raise ValueError(
        f"{name} has no file {missing[0] if missing else _WHOLE}.{again} Other formats (.bin, "
        ".pt, .h5) are not read, because they can run code. Pass revision= of a conversion to "
        "safetensors, such as 'refs/pr/1', if the model has one. Or convert it, if you trust its "
        f"origin: transformers.AutoModel.from_pretrained({name!r}).save_pretrained(folder), and "
        f"the same with AutoFeatureExtractor for {_PREPROCESSOR}; then pass the folder as model."
    )


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{name} has no {path.name}. A model is a folder as save_pretrained of transformers "
            f"writes it, with {_CONFIG} and {_WHOLE}."
        ) from None
    except ValueError as exception:
        raise ValueError(f"{path} is not JSON: {exception}. Replace it.") from exception
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not an object. Replace it.")
    return content
