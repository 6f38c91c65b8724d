"""Cache keys: digests of contents and of settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames

#: Bytes of a key: enough that no two utterances share one.
KEY_SIZE = 16


def digest(*parts: Any) -> bytes:
    """Key of a sequence of bytes, which also depends on where one part ends and the next begins.

    Parameters
    ----------
    *parts : bytes or ndarray of uint8

    Returns
    -------
    bytes
        ``KEY_SIZE`` of them.

    Examples
    --------
    >>> digest(b"ab", b"c") == digest(b"a", b"bc")
    False
    """
    state = hashlib.blake2b(digest_size=KEY_SIZE)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def settings_digest(settings: dict[str, Any]) -> bytes:
    """Key of settings that JSON can hold, whatever their order.

    Parameters
    ----------
    settings : dict

    Returns
    -------
    bytes
    """
    return digest(json.dumps(settings, sort_keys=True).encode())


def as_key_array(keys: Iterable[bytes]) -> NDArray[np.uint8]:
    """Keys one a row.

    Parameters
    ----------
    keys : iterable of bytes

    Returns
    -------
    ndarray of shape (n, KEY_SIZE), uint8
    """
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_SIZE)


def utterance_keys(frames: UtteranceFrames) -> NDArray[np.uint8]:
    """Key of the frames of each utterance.

    Parameters
    ----------
    frames : UtteranceFrames

    Returns
    -------
    ndarray of shape (n, KEY_SIZE), uint8
        The keys that the frames have from a store, or else digests of the frames themselves.
    """
    if frames.keys is not None:
        return frames.keys
    kind = f"{frames.dtype.str} {frames.frame_shape}".encode()
    return as_key_array(
        digest(kind, np.ascontiguousarray(utterance).reshape(-1).view(np.uint8))
        for utterance in frames
    )
