"""Speakers as labels: validation, number to hold out, threshold from trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.metrics import equal_error_rate, make_trials

#: Trials for the threshold; more do not move it.
_MAX_TRIALS = 100_000


def unit_rows(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """Rows divided by their length; a row with a NaN, as of a bad recording, is all NaN."""
    unit = np.full(embeddings.shape, np.nan, dtype=np.float32)
    good = np.isfinite(embeddings).all(axis=1)
    norms = np.linalg.norm(embeddings[good], axis=1, keepdims=True)
    unit[good] = embeddings[good] / np.where(norms == 0, 1, norms)
    return unit


def check_speakers(y: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Speakers, and the number of the speaker of each recording.

    Parameters
    ----------
    y : array-like of shape (n,)
        Names or numbers.

    Returns
    -------
    speakers : ndarray of shape (n_speakers,)
        In ascending order.
    index : ndarray of int of shape (n,)

    Raises
    ------
    ValueError
        If a speaker is missing (the message names the row), or there is only one.
    """
    if y is None:
        raise ValueError(
            "requires y to be passed, but the target y is None: pass the speaker of each recording."
        )
    y = column_or_1d(y, warn=True)
    if len(y) == 0:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    missing = np.asarray(pd.isna(y))
    if y.dtype.kind == "f":
        missing |= np.isinf(y)
    if missing.any():
        raise ValueError(
            f"Input y contains NaN or infinity: {int(missing.sum())} recording(s) lack a speaker, "
            f"the first in row {int(np.flatnonzero(missing)[0])}. Leave these rows out of X and y."
        )
    speakers, index = np.unique(y, return_inverse=True)
    if len(speakers) < 2:
        raise ValueError(
            f"All {len(y)} recordings are of one speaker, {speakers.tolist()[0]!r} (one class): "
            "verification is learned from the difference between speakers. Add recordings of "
            "others."
        )
    return speakers, index


def count_held_out(n_speakers: int, fraction: float) -> int:
    """Number of speakers to hold out of training.

    Parameters
    ----------
    n_speakers : int
    fraction : float
        Share of the speakers, rounded up; 0 for none.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If fewer than two are left to train on.
    """
    n_held = int(np.ceil(fraction * n_speakers))
    if n_held == 1:
        n_held = 2  # trials of different speakers need two
    if n_held and n_speakers - n_held < 2:
        raise ValueError(
            f"Holding out {n_held} of {n_speakers} speakers leaves too few to train on. Add "
            "speakers, or set validation_fraction=0 for a threshold from the training data."
        )
    return n_held


def equal_error_threshold(
    embed: Callable[[UtteranceFrames], NDArray[np.float32]],
    frames: UtteranceFrames,
    speakers: NDArray[np.int64],
) -> float:
    """Similarity at the equal error rate of trials among utterances.

    Parameters
    ----------
    embed : callable
        Gives one row of unit length per utterance.
    frames : UtteranceFrames
    speakers : ndarray of int of shape (n,)
        Number of each utterance's speaker.

    Returns
    -------
    float
    """
    if np.bincount(speakers)[speakers].min() < 2:
        # Halves of an utterance stand for two recordings of a speaker who has only one.
        middle = (frames.starts + frames.stops + 1) // 2
        frames = UtteranceFrames(
            frames.base,
            np.concatenate([frames.starts, np.minimum(middle, frames.stops - 1)]),
            np.concatenate([middle, frames.stops]),
            frame_settings=frames.frame_settings,
        )
        speakers = np.tile(speakers, 2)
    embeddings = embed(frames)
    first, second, same = make_trials(speakers, n_trials=_MAX_TRIALS, random_state=0)
    similarity = np.einsum("nd,nd->n", embeddings[first], embeddings[second])
    return equal_error_rate(same, similarity, return_threshold=True)[1]
