"""What y may hold: nothing of use, labels of a later step, or a mask of speech per utterance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames


def frame_masks(y: Any) -> list[Any] | None:
    """Masks of frames, or None where y is something else.

    A Pipeline hands the labels of its last step to every step: one value per utterance is none
    of our business.

    Parameters
    ----------
    y : object

    Returns
    -------
    list or None
        One item per utterance, not looked at yet.

    Examples
    --------
    >>> frame_masks([0, 1, 2]) is None, frame_masks([[0, 1], [1, 1, 0]])
    (True, [[0, 1], [1, 1, 0]])
    """
    if y is None or isinstance(y, (str, bytes)):
        return None
    if hasattr(y, "__array__") and not isinstance(y, UtteranceFrames):
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            return None  # labels in a column
    rows = list(y)
    return rows if any(np.ndim(row) > 0 for row in rows) else None


def check_masks(masks: list[Any], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probabilities of speech of all frames, end to end.

    Parameters
    ----------
    masks : list of array-like of shape (n_frames_i,)
        Zeros and ones, booleans, or probabilities.
    lengths : ndarray of shape (n,)
        Frames of each utterance.

    Returns
    -------
    ndarray of shape (n_frames,), float32

    Raises
    ------
    ValueError
        If there is not one mask per utterance, or one value in [0, 1] per frame; the message
        names the row.
    """
    if len(masks) != len(lengths):
        raise ValueError(
            f"y holds masks of {len(masks)} utterances, X has {len(lengths)}: inconsistent "
            "numbers of samples. Pass one mask per utterance."
        )
    checked = []
    for row, (mask, length) in enumerate(zip(masks, lengths.tolist(), strict=True)):
        try:
            values = np.asarray(mask, dtype=np.float32)
        except (TypeError, ValueError) as exception:
            raise ValueError(
                f"Row {row} of y holds {mask!r:.80} where a mask of numbers in [0, 1] is expected."
            ) from exception
        if values.ndim != 1:
            raise ValueError(
                f"Row {row} of y has shape {values.shape}; a mask has one value per frame, "
                f"({length},)."
            )
        if len(values) != length:
            raise ValueError(
                f"Row {row} has {length} frames, its mask in y {len(values)} values. Make masks "
                "of the frames that X has."
            )
        wrong = ~((values >= 0) & (values <= 1))
        if wrong.any():
            frame = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"Row {row} of y holds {values[frame]} at frame {frame}; masks hold 0 and 1, or "
                "probabilities in between. Correct it, or leave the row out of X and y."
            )
        checked.append(values)
    return np.concatenate(checked)
