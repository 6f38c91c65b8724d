"""Levels of the labels that an estimator is trained on, with errors and warnings about them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets

from sklearn_speechsent.metrics.levels import level_index, observed_levels


def find_levels(y: NDArray[Any], levels: ArrayLike | None) -> NDArray[Any]:
    """Levels of the scale in ascending order.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels.
    levels : array-like of numbers or None
        The scale, if it is known beforehand. None takes the labels that occur, real ones rounded
        to whole numbers.

    Returns
    -------
    ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If there are fewer than two levels, or a label lies off the scale (the message names the
        row).

    Warns
    -----
    UserWarning
        If a level of the scale does not occur in ``y``; the message names it.
    """
    if levels is None:
        if y.dtype.kind == "O":
            check_classification_targets(y)
        found = observed_levels(y) if y.dtype.kind in "iuf" else np.unique(y)
        if len(found) < 2:
            raise ValueError(
                f"y has only one class, level {found.tolist()[0]!r}: nothing can be learned from "
                "one level."
            )
        return found
    scale = np.unique(np.asarray(levels))
    if len(scale) < 2 or scale.dtype.kind not in "iuf" or not np.isfinite(scale).all():
        raise ValueError(
            "levels must be finite and at least two distinct numbers, got "
            f"{np.asarray(levels).tolist()}."
        )
    if y.dtype.kind not in "iufb":
        raise ValueError(
            f"With levels={scale.tolist()}, labels must be numbers, got dtype {y.dtype}."
        )
    off = (y < scale[0] - 0.5) | (y > scale[-1] + 0.5)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise ValueError(
            f"Label {y[row]} in row {row} lies off the scale {scale.tolist()}. Correct it or pass "
            "other levels."
        )
    counts = np.bincount(label_index(y, scale), minlength=len(scale))
    if np.count_nonzero(counts) < 2:
        raise ValueError(
            f"y has only one class, level {scale[counts.argmax()]}: nothing can be learned from it."
        )
    if (counts == 0).any():
        warnings.warn(
            f"No training label is at level {', '.join(map(str, scale[counts == 0].tolist()))}; it "
            "will hardly ever be predicted.",
            UserWarning,
            stacklevel=4,
        )
    return scale


def label_index(y: NDArray[Any], levels: NDArray[Any]) -> NDArray[np.int64]:
    """Position of each label's level.

    Numbers follow the rule of :mod:`sklearn_speechsent.metrics.levels`; text has to be equal.

    Parameters
    ----------
    y : ndarray of shape (n,)
    levels : ndarray of shape (n_levels,)
        As :func:`find_levels` returns them.

    Returns
    -------
    ndarray of int of shape (n,)

    Raises
    ------
    ValueError
        If the levels are not numbers and a label is not among them.
    """
    if levels.dtype.kind in "iuf":
        return level_index(y, levels)
    index = np.searchsorted(levels, y).clip(0, len(levels) - 1)
    if (levels[index] != y).any():
        raise ValueError(f"y holds labels that are not among the levels {levels.tolist()}.")
    return index


def warn_left_out(n_left_out: int, n: int) -> None:
    """Warn that rows of NaN are not trained on.

    Parameters
    ----------
    n_left_out, n : int
        Number of these rows, and of all.

    Warns
    -----
    UserWarning
    """
    warnings.warn(
        f"{n_left_out} of {n} rows hold NaN, as those of recordings that could not be used do. "
        'They are left out of training (on_error="nan").',
        UserWarning,
        stacklevel=6,
    )
