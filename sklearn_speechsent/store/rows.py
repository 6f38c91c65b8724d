"""Rows of a step's input: batches of them, and their cache keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_speechsent.audio.names import located
from sklearn_speechsent.audio.recording import Recording, RecordingError
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.store.compute import compute_missing
from sklearn_speechsent.store.keys import as_key_array, digest, utterance_keys


class Rows(Protocol):
    """Input of a step, one row per utterance."""

    def __len__(self) -> int: ...

    def metadata(self) -> pd.DataFrame:
        """Table with the index of X and the column ``row``."""

    def take(self, rows: list[int]) -> Any:
        """Batch of some rows, as the function of the step takes it."""

    def keys(self, store: Any) -> NDArray[np.uint8]:
        """Cache key of each row, shape (n, KEY_SIZE); ``store`` may cache what they need."""


class FrameRows:
    """Utterances whose frames exist.

    Parameters
    ----------
    frames : UtteranceFrames
    """

    def __init__(self, frames: UtteranceFrames) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def metadata(self) -> pd.DataFrame:
        """What is known of the utterances, see :class:`~sklearn_speechsent.UtteranceFrames`."""
        return self.frames.metadata

    def take(self, rows: list[int]) -> Any:
        """Frames of some rows."""
        return self.frames[rows]

    def keys(self, store: Any) -> NDArray[np.uint8]:
        """Keys that the frames have, or digests of them."""
        return utterance_keys(self.frames)


class RecordingRows:
    """Recordings that are yet to be decoded.

    Parameters
    ----------
    recordings : list of Recording
    n_jobs : int or None
        Threads that read files for their digests.
    problems : dict of int to RecordingError, optional
        Rows whose headers tell that they cannot be used.
    index : Index, optional
        Labels of the rows, where X has them.
    """

    def __init__(
        self,
        recordings: list[Recording],
        n_jobs: int | None,
        problems: dict[int, RecordingError] | None = None,
        index: pd.Index | None = None,
    ) -> None:
        self.recordings = recordings
        self.n_jobs = n_jobs
        self.problems = problems or {}
        self.index = index

    def __len__(self) -> int:
        return len(self.recordings)

    def metadata(self) -> pd.DataFrame:
        """Table with the row of X that each recording is, or is a copy of."""
        rows = [r.row if r.origin is None else r.origin for r in self.recordings]
        return pd.DataFrame({"row": rows}, index=self.index)

    def take(self, rows: list[int]) -> list[Recording]:
        """Recordings of some rows."""
        return [self.recordings[row] for row in rows]

    def keys(self, store: Any) -> NDArray[np.uint8]:
        """Digests of the content of each file or array, its segment and its perturbation."""
        return recording_keys(self.recordings, store, self.n_jobs)


def recording_keys(
    recordings: Sequence[Recording], store: Any, n_jobs: int | None
) -> NDArray[np.uint8]:
    """Key of each recording.

    Parameters
    ----------
    recordings : sequence of Recording
    store : FeatureStore
        Caches the digest of each file by its path, size and time of change, so that every file is
        read for its digest once.
    n_jobs : int or None
        Threads.

    Returns
    -------
    ndarray of uint8 of shape (n, KEY_SIZE)
        Of the content of the file or the samples, the segment and the perturbation.
    """
    read = [*recordings, *(voice for recording in recordings for voice in recording.babble)]
    paths = list(dict.fromkeys(r.source for r in read if isinstance(r.source, str)))
    contents = dict(zip(paths, _file_contents(paths, store, n_jobs), strict=True))
    return as_key_array([_key(recording, contents) for recording in recordings])


def _key(recording: Recording, contents: dict[str, bytes]) -> bytes:
    """Key of a recording, given the digests of files."""
    if isinstance(recording.source, str):
        content = contents[recording.source]
    elif isinstance(recording.source, bytes):
        content = hashlib.sha256(recording.source).digest()
    else:
        samples = np.ascontiguousarray(recording.source)
        kind = f"{recording.rate} {samples.dtype.str} {samples.shape}".encode()
        content = digest(kind, samples.reshape(-1).view(np.uint8))
    voices = (_key(voice, contents) for voice in recording.babble)
    return digest(content, repr(recording.variant()).encode(), *voices)


def _file_contents(paths: list[str], store: Any, n_jobs: int | None) -> list[bytes]:
    """Digest of the content of each file; that of its name where it cannot be read."""
    states = [_state(path) for path in paths]
    known = [state for state in states if state]
    if not known:
        return [_name(path) for path in paths]
    cache = store.step_cache("files", {"digest": "sha256"}, frames=False)
    readable = [path for path, state in zip(paths, states, strict=True) if state]
    failed = compute_missing(
        cache,
        known,
        lambda rows: [readable[row] for row in rows],
        _digests,
        n_jobs=n_jobs,
        # Hashing releases the interpreter lock. And processes of loky that hash before they import
        # torch take the growth of their memory for a leak, and are restarted.
        threads=True,
    )
    found = [state for state in known if state not in failed]
    digests: dict[bytes, bytes] = {}
    if found:
        base, starts, _ = cache.frames(found)
        rows = base[starts]
        digests = {state: row.tobytes() for state, row in zip(found, rows, strict=True)}
    # A file without a digest cannot be decoded either, so nothing is stored under its name.
    return [digests.get(s, _name(p)) for s, p in zip(states, paths, strict=True)]


def _name(path: str) -> bytes:
    """Bytes of a name, whatever it holds."""
    return path.encode("utf-8", "surrogatepass")


def _state(path: str) -> bytes:
    """Digest of path, size and time of change; empty if there is no file."""
    path = located(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return b""
    return digest(repr((os.path.abspath(path), status.st_size, status.st_mtime_ns)).encode())


def _digests(paths: list[str]) -> Iterator[NDArray[np.uint8] | Exception]:
    for path in paths:
        try:
            with open(located(path), "rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as exception:
            yield exception
        else:
            yield np.frombuffer(content, np.uint8)[None]
