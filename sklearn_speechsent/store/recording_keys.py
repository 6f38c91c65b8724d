"""Keys of recordings: what they sound like and which part is meant, not what they are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.audio.recording import Recording
from sklearn_speechsent.store import FeatureStore, as_key_array, digest, fill


def recording_keys(
    recordings: Sequence[Recording], store: FeatureStore, n_jobs: int | None
) -> NDArray[np.uint8]:
    """Key of each recording.

    Parameters
    ----------
    recordings : sequence of Recording
    store : FeatureStore
        Keeps the digest of each file by its path, size and time of change, so that every file is
        read for its digest once.
    n_jobs : int or None
        Threads.

    Returns
    -------
    ndarray of uint8 of shape (n, KEY_SIZE)
        Of the content of the file or the samples, the segment and the perturbation.
    """
    paths = list(dict.fromkeys(r.source for r in recordings if isinstance(r.source, str)))
    contents = dict(zip(paths, _file_contents(paths, store, n_jobs), strict=True))
    keys = []
    for recording in recordings:
        if isinstance(recording.source, str):
            content = contents[recording.source]
        else:
            samples = np.ascontiguousarray(recording.source)
            kind = f"{recording.rate} {samples.dtype.str} {samples.shape}".encode()
            content = digest(kind, samples.reshape(-1).view(np.uint8))
        keys.append(digest(content, repr(recording.variant()).encode()))
    return as_key_array(keys)


def _file_contents(paths: list[str], store: FeatureStore, n_jobs: int | None) -> list[bytes]:
    """Digest of the content of each file; that of its name where it cannot be read."""
    states = [_state(path) for path in paths]
    known = [state for state in states if state]
    if not known:
        return [path.encode() for path in paths]
    shelf = store.shelf("files", {"digest": "sha256"}, frames=False)
    readable = [path for path, state in zip(paths, states, strict=True) if state]
    failed = fill(
        shelf, known, lambda rows: [readable[row] for row in rows], _digests, n_jobs=n_jobs
    )
    found = [state for state in known if state not in failed]
    digests: dict[bytes, bytes] = {}
    if found:
        base, starts, _ = shelf.frames(found)
        rows = base[starts]
        digests = {state: row.tobytes() for state, row in zip(found, rows, strict=True)}
    # Without a digest nothing will be kept of the file: it cannot be decoded either.
    return [digests.get(s, p.encode()) for s, p in zip(states, paths, strict=True)]


def _state(path: str) -> bytes:
    """What changes whenever the file does; empty if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return b""
    return digest(repr((os.path.abspath(path), status.st_size, status.st_mtime_ns)).encode())


def _digests(paths: list[str]) -> Iterator[NDArray[np.uint8] | Exception]:
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as exception:
            yield exception
        else:
            yield np.frombuffer(content, np.uint8)[None]
