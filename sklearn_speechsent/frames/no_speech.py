"""Recordings in which nobody speaks: rows of NaN, and the warning about them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import row_numbers, unusable
from sklearn_speechsent.utils.repeats import is_news

#: Rows that a message names.
_SHOWN = 5


class NoSpeechWarning(UserWarning):
    """Nobody speaks in some recordings, so that their rows are NaN."""


def rows_of_nan(frames: UtteranceFrames) -> NDArray[np.bool_]:
    """Which utterances are a single frame of NaN, shape (n,); longer ones are not looked at."""
    found = frames.lengths == 1
    found[found] = unusable(frames[found].with_embeddings(None))
    return found


def warn_without_speech(
    found: NDArray[np.bool_],
    frames: UtteranceFrames,
    why: str,
    names: Sequence[str] | None = None,
) -> None:
    """Warn once about utterances that a step makes rows of NaN.

    Parameters
    ----------
    found : ndarray of bool of shape (n,)
        Which utterances; without any, and for a repeat, there is no warning.
    frames : UtteranceFrames
        All utterances.
    why : str
        What they are like, after "recordings".
    names : sequence of str, optional
        Of all utterances; by default their rows of X.

    Warns
    -----
    NoSpeechWarning
        It counts and names rows of X, copies of one recording once.
    """
    if not found.any():
        return
    rows = row_numbers(frames)
    # The first copy of each recording names it.
    first = {int(rows[i]): i for i in np.flatnonzero(found)[::-1]}
    if not is_news(NoSpeechWarning, first):
        return
    shown = [f"row {row}" if names is None else names[first[row]] for row in sorted(first)]
    if len(shown) > _SHOWN:
        shown = [*shown[:_SHOWN], f"{len(shown) - _SHOWN} more"]
    warnings.warn(
        f"{len(first)} of {len(np.unique(rows))} recordings {why}. Nothing can be said about them, "
        f"so that their rows are NaN: {', '.join(shown)}.",
        NoSpeechWarning,
        stacklevel=5,
    )
