"""Pauses that sound like the room of a recording."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Seconds of a stretch.
_STRETCH = 0.1


def room_of(sound: NDArray[Any], sample_rate: int = 16_000) -> NDArray[Any]:
    """Quietest stretch of a recording that is not digital silence, to and fro.

    Parameters
    ----------
    sound : ndarray of shape (n_samples,)
    sample_rate : int, default=16000

    Returns
    -------
    ndarray of shape (2 * n,)
        0.2 s, to be repeated without clicks.

    Examples
    --------
    >>> import numpy as np
    >>> sound = np.concatenate([np.full(1600, 0.5), np.full(1600, 0.1), np.zeros(1600)])
    >>> set(room_of(sound))
    {np.float64(0.1)}
    """
    size = int(_STRETCH * sample_rate)
    stretches = sound[: len(sound) // size * size].reshape(-1, size)
    loudness = np.abs(stretches.astype(np.float64)).mean(axis=1)
    quietest = stretches[np.where(loudness > 0, loudness, np.inf).argmin()]
    return np.concatenate([quietest, quietest[::-1]])
