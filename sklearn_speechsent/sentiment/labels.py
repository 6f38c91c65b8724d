"""Labels on an ordinal scale: which levels there are, and which one a label is."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets


def round_labels(y: NDArray[Any]) -> NDArray[Any]:
    """Nearest integers, halves to even, of real labels; others as they are."""
    if y.dtype.kind == "f":
        return np.rint(y) + 0.0  # no negative zero among the levels
    return y


def find_levels(y: NDArray[Any], levels: ArrayLike | None) -> NDArray[Any]:
    """Levels of the scale in ascending order.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels; real ones count as their nearest integer.
    levels : array-like of numbers or None
        The scale, if it is known beforehand; None takes the levels that occur.

    Returns
    -------
    ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If there are less than two levels, or a label lies off the scale (the message names the
        row).

    Warns
    -----
    UserWarning
        If a level of the scale does not occur in ``y``; the message names it.
    """
    if levels is None:
        rounded = round_labels(y)
        if rounded.dtype.kind == "O":
            check_classification_targets(rounded)
        found = np.unique(rounded)
        if len(found) < 2:
            raise ValueError(
                f"y has only one class, level {found.tolist()[0]!r}: nothing can be learned from "
                "one level."
            )
        return found
    scale = np.unique(np.asarray(levels))
    if len(scale) < 2 or scale.dtype.kind not in "iuf":
        raise ValueError(
            f"levels must be at least two distinct numbers, got {np.asarray(levels).tolist()}."
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
    counts = np.bincount(nearest_level(y, scale), minlength=len(scale))
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


def nearest_level(y: NDArray[Any], levels: NDArray[Any]) -> NDArray[np.int64]:
    """Index of the level that each label is nearest to.

    Parameters
    ----------
    y : ndarray of shape (n,)
    levels : ndarray of shape (n_levels,)
        In ascending order.

    Returns
    -------
    ndarray of int of shape (n,)
        Halves between integer levels go to the even one, as numpy rounds.

    Raises
    ------
    ValueError
        If labels are no numbers and one of them is not among the levels.
    """
    if levels.dtype.kind not in "iuf":
        index = np.searchsorted(levels, y).clip(0, len(levels) - 1)
        if (levels[index] != y).any():
            raise ValueError(f"y holds labels that are not among the levels {levels.tolist()}.")
        return index
    if np.array_equal(levels, np.rint(levels)):
        y = np.rint(y)
    midpoints = (levels[1:].astype(float) + levels[:-1]) / 2
    return np.searchsorted(midpoints, y, side="left").astype(np.int64)
