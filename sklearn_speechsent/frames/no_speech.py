"""Recordings in which nobody speaks: rows of NaN, and the warning about them."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.frames.validation import row_numbers, unusable

#: Rows that a message names.
_SHOWN = 5


class NoSpeechWarning(UserWarning):
    """Nobody speaks in some recordings, so that their rows are NaN."""


def rows_of_nan(frames: UtteranceFrames) -> NDArray[np.bool_]:
    """Which utterances are a single frame of NaN, shape (n,); longer ones are not looked at."""
    found = frames.lengths == 1
    found[found] = unusable(frames[found].with_embeddings(None))
    return found


def warn_without_speech(made: UtteranceFrames, frames: UtteranceFrames | None, why: str) -> None:
    """Warn once about utterances that a step has made rows of NaN.

    Parameters
    ----------
    made : UtteranceFrames
        Output of the step.
    frames : UtteranceFrames or None
        Its input: rows that are NaN already were warned about. None is recordings.
    why : str
        What is wrong with them, after "recordings".

    Warns
    -----
    NoSpeechWarning
        It counts and names rows of X, copies of one recording once.
    """
    found = rows_of_nan(made)
    if frames is not None:
        found &= ~rows_of_nan(frames)
    if not found.any():
        return
    numbers = row_numbers(made)
    rows = np.unique(numbers[found])
    names = ", ".join(map(str, rows[:_SHOWN].tolist())) + (", ..." if len(rows) > _SHOWN else "")
    warnings.warn(
        f"{len(rows)} of {len(np.unique(numbers))} recordings {why}; nobody speaks there, so that "
        f"nothing can be said about them and their rows are NaN: {'row' if len(rows) == 1 else 'rows'} {names}.",
        NoSpeechWarning,
        stacklevel=5,
    )
