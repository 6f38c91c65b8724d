"""Models in the layout of the Hugging Face hub: folders with config.json and safetensors."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.pretrained.registry import REGISTRY
from sklearn_speechsent.pretrained.tensors import unreadable
from sklearn_speechsent.utils.files import file_sha256

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"

#: Gives the path of a file of a model, None if the model has no such file.
_Get = Callable[[str], Path | None]


@dataclass(frozen=True)
class ModelFolder:
    """Folder of a model.

    Parameters
    ----------
    name : str
        Name on the hub, or the path as it was given.
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
    name, commit = os.fspath(source), None
    path = Path(name).expanduser()
    get: _Get = partial(_of_folder, path)
    if path.is_dir():
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} is for models on the Hugging Face hub, and {name} is a "
                "folder. Leave revision out."
            )
    elif isinstance(source, str) and _NAME.fullmatch(source):
        get = partial(_of_hub, name, revision)
    else:
        raise FileNotFoundError(
            f"The folder {path} does not exist. Pass a folder with {_CONFIG} and {_WHOLE}, or "
            "the name of a model on the Hugging Face hub, owner/name."
        )
    configuration = get(_CONFIG)
    if configuration is None:
        raise ValueError(
            f"{name} has no {_CONFIG}. A model is a folder as save_pretrained of transformers "
            f"writes it, with {_CONFIG} and {_WHOLE}."
        )
    config = _json(configuration)
    found = config.get("model_type")
    if found not in types:
        raise ValueError(
            f"{name} is a model of type {found!r}, not a speech encoder that can be used. Types "
            f"that can: {', '.join(sorted(types))}."
        )
    if not path.is_dir():
        commit = configuration.parent.name
        get = partial(_of_hub, name, commit)  # whatever is published meanwhile
    preprocessor = get(_PREPROCESSOR)
    return ModelFolder(
        name=name,
        revision=commit,
        config=config,
        preprocessor={} if preprocessor is None else _json(preprocessor),
        weights=_weights(name, get),
    )


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


def _of_folder(folder: Path, file: str) -> Path | None:
    """File of a folder."""
    return folder / file if (folder / file).is_file() else None


def _of_hub(name: str, revision: str | None, file: str) -> Path | None:
    """File of a model on the hub, downloaded unless the cache has it or knows that it is not there.

    Which files are there is never guessed from the cache: other programs download some of them.
    """
    try:
        from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache
    except ImportError as exception:
        raise missing_library(exception) from exception

    found = try_to_load_from_cache(name, file, revision=revision)
    if found is not None:
        return Path(found) if isinstance(found, str) else None
    at = "" if revision is None else f" --revision {revision}"
    remedy = (
        f"Where there is a network, run: hf download {name}{at} --include '*config.json' --include "
        "'model*.safetensors*'. Copy the folder whose path it prints, and pass the copy as model."
    )
    failed = (
        f"{file} of {name} is not in the cache of the Hugging Face hub, and could not be downloaded"
    )
    with hub_errors(name, revision, failed, remedy):
        try:
            return Path(hf_hub_download(name, file, revision=revision))
        except errors.RemoteEntryNotFoundError:
            return None


@contextmanager
def hub_errors(name: str, revision: str | None, failed: str, remedy: str) -> Iterator[None]:
    """Turn errors of the hub into ones that say what to do.

    Parameters
    ----------
    name : str
        Of the model.
    revision : str or None
    failed, remedy : str
        What could not be done if the hub cannot be reached, as a clause, and what to do, as a
        sentence.

    Raises
    ------
    ValueError
        If the hub has no such model or revision or does not give it to this user.
    ConnectionError
        If anything else goes wrong on the way to the hub.
    """
    from huggingface_hub import errors

    try:
        yield
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
        first_line = next(iter(str(exception).splitlines()), "")[:200].rstrip(". ")
        raise ConnectionError(
            f"{failed}: {type(exception).__name__}: {first_line}. {remedy}"
        ) from exception


def _weights(name: str, get: _Get) -> tuple[Path, ...]:
    """Files of tensors of a model."""
    wanted = [_WHOLE]
    found = [get(_WHOLE)]
    if found == [None] and (index := get(_INDEX)) is not None:
        shards = _json(index).get("weight_map", {}).values()
        # Names alone: an index cannot point out of its folder.
        wanted = sorted({Path(str(shard)).name for shard in shards}) or wanted
        found = [get(file) for file in wanted]
    files = tuple(file for file in found if file is not None)
    if len(files) == len(wanted):
        return files
    missing = wanted[found.index(None)]
    raise ValueError(
        f"{name} has no file {missing}. Files of other formats (.bin, "
        ".pt, .h5) are not read, because they can run code. Pass revision= of a conversion to "
        "safetensors, such as 'refs/pr/1', if the model has one. Or convert it, if you trust its "
        f"origin: transformers.AutoModel.from_pretrained({name!r}).save_pretrained(folder), and "
        f"the same with AutoFeatureExtractor for {_PREPROCESSOR}; then pass the folder as model."
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exception:
        raise ValueError(f"{path} is not JSON: {exception}. Replace it.") from exception
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not an object. Replace it.")
    return content
