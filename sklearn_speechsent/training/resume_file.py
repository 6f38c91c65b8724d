"""Files with the state of a fit, named by a digest of all that determines the result."""

from __future__ import annotations

import io
import itertools
import pickle
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import sklearn
import torch
from skorch.callbacks import Callback

import sklearn_speechsent._version as version
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.store.keys import KEY_SIZE, digest, settings_digest, utterance_keys
from sklearn_speechsent.utils.files import ProcessLock, atomic_write, remove_parts

#: Part of every key; to be raised when the content of a state changes.
_FORMAT = 2
_MAGIC = b"sklearn_speechsent fit\n"
_SUFFIX, _LOCK = ".fit", ".lock"


class ResumeFile(NamedTuple):
    """File for the state of one fit, used by this fit only.

    Parameters
    ----------
    path : Path
    key : str
        Key of the fit. A file of this name that was written for another fit counts as damaged.
    """

    path: Path
    key: str

    def read(self) -> dict[str, Any] | None:
        """State that was written last; None if there is no intact one of this fit."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        start = len(_MAGIC) + KEY_SIZE
        payload = memoryview(content)[start:]
        # Neither torch nor its zip files notice a flipped bit.
        if content[:start] != self._header(payload):
            return None
        try:
            return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # a module with state that is not data
            return None

    def write(self, state: dict[str, Any]) -> int:
        """Write a state.

        Returns
        -------
        int
            Size in bytes.

        Raises
        ------
        OSError
            If it cannot be written; the earlier state stays.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(self.path, self._header(buffer.getbuffer()), buffer.getbuffer())
        return buffer.tell()

    def _header(self, payload: memoryview) -> bytes:
        return _MAGIC + digest(self.key.encode(), payload)


@contextmanager
def locked_file(
    folder: Path, key: str, *, shared: bool
) -> Iterator[tuple[ResumeFile, dict[str, Any] | None]]:
    """Lock a file, so that no other running fit writes to it.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    key : str
        Key of the fit.
    shared : bool
        Whether two fits of this key have the same result, so that one may start from a state that
        the other one has saved.

    Yields
    ------
    file : ResumeFile
        The first one of the key, unless an equal fit that is running at the same time has it.
    state : dict or None
        State to resume from.

    Raises
    ------
    OSError
        If the folder cannot be written to; the message names it.

    Warns
    -----
    UserWarning
        If there is a file and it cannot be used.
    """
    found = None
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
    for number in itertools.count(1):
        name = key if number == 1 else f"{key}-{number}"
        file = ResumeFile(folder / f"{name}{_SUFFIX}", key)
        if shared:
            found = found or file.read()
            if found is not None and found["stage"] == "finished":
                _remove_abandoned(file.path.with_suffix(_LOCK))
                yield file, found
                return
        with _explained(folder):
            lock = ProcessLock.acquire(file.path.with_suffix(_LOCK))
        if lock is not None:
            break
    assert lock is not None
    try:
        remove_parts(file.path)
        state = file.read()
        if state is None and file.path.exists():
            warnings.warn(
                f"{file.path} is damaged, or not a file of this fit. It is not used and will be "
                "overwritten.",
                UserWarning,
                stacklevel=2,
            )
        yield file, state or found
    finally:
        lock.release()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exception:
        raise unwritable(folder, exception) from exception


def unwritable(folder: Path, exception: OSError) -> OSError:
    """Error that says what to do about a folder that cannot be written to."""
    return OSError(
        exception.errno,
        "The state of the fit cannot be saved in the folder of resume= "
        f"({exception.strerror or exception}). Make it writable, make room, or pass another folder",
        str(folder),
    )


def _remove_abandoned(path: Path) -> None:
    """Remove the lock of a fit that was interrupted when all was done."""
    with suppress(OSError):
        lock = ProcessLock.acquire(path) if path.exists() else None
        if lock is not None:
            lock.release()


def fit_key(settings: dict[str, Any]) -> str:
    """Key of a fit: a digest of all that determines its result.

    Parameters
    ----------
    settings : dict
        Parameters, data and states by name: plain values, arrays, tensors, frames, skorch
        callbacks, classes and functions (by their names), or what can be pickled.

    Returns
    -------
    str
        The same in every process; different for another version of the package, of torch or of
        scikit-learn.

    Raises
    ------
    ValueError
        If a value cannot be pickled; the message names it.
    """
    described = {}
    for name, value in settings.items():
        try:
            described[name] = _describe(value)
        except (pickle.PicklingError, TypeError, AttributeError) as exception:
            raise ValueError(
                f"resume= has to tell one {name} from another, and {value!r} cannot be "
                f"pickled ({exception}). Define it at the top of a module, or set resume=None."
            ) from exception
    versions = [_FORMAT, version.__version__, torch.__version__, sklearn.__version__]
    return settings_digest({"versions": versions, "settings": described}).hex()


def _describe(value: Any) -> Any:
    """Value as JSON can hold it, large values by their digests."""
    if isinstance(value, (type, types.FunctionType)):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Callback):
        # Attributes that end in an underscore are state of an earlier fit.
        params = {name: item for name, item in vars(value).items() if not name.endswith("_")}
        return [_describe(type(value)), _describe(params)]
    if isinstance(value, UtteranceFrames):
        kind = [value.dtype.str, list(value.frame_shape), _describe(value.frame_settings)]
        return [*kind, joblib.hash(utterance_keys(value)), _describe(value.embeddings)]
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return [str(value.dtype), list(value.shape), joblib.hash(content)]
    if isinstance(value, np.ndarray):
        return joblib.hash(np.ascontiguousarray(value))
    if isinstance(value, dict):
        # As text: keys of one dict may be of several types, which cannot be sorted.
        return sorted([repr(key), _describe(item)] for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [_describe(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return joblib.hash(value)
