"""Levels that an estimator learns from its labels, and the accuracy on them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score

from sklearn_speechsent.metrics.levels import (
    encoded_hint,
    level_index,
    merged_values,
    observed_levels,
    off_scale,
    read_labels,
    refuse_off,
)


def check_scale(y: NDArray[Any], scale: NDArray[Any] | None, name: str = "y") -> None:
    """Raise for labels off the scale, if it is known.

    Parameters
    ----------
    y : ndarray of shape (n,)
    scale : ndarray of shape (n_levels,) or None
        As :func:`~sklearn_speechsent.metrics.levels.read_labels` returns it, or learned before.
    name : str, default="y"
        In messages.

    Raises
    ------
    ValueError
        The message names label and row.
    """
    if scale is not None:
        refuse_off(y, scale, "Correct it, or pass other levels to the first fit.", name)


def find_levels(y: NDArray[Any], scale: NDArray[Any] | None) -> NDArray[Any]:
    """Levels to learn, in ordinal order.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels, none off the scale.
    scale : ndarray of shape (n_levels,) or None
        The scale, if it is known beforehand. None takes the labels that occur, real ones rounded
        to whole numbers.

    Returns
    -------
    ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If fewer than two levels occur.

    Warns
    -----
    UserWarning
        If a level of the scale does not occur in ``y``, or if rounding to whole numbers looks
        like a mistake.
    """
    levels = observed_levels(y) if scale is None else scale
    counts = np.bincount(level_index(y, levels), minlength=len(levels))
    if np.count_nonzero(counts) < 2:
        n_values = len(np.unique(y))
        merged = f" Its {n_values} values became 1 level: pass levels=." if n_values > 1 else ""
        raise ValueError(
            f"y has only one class, level {levels[counts.argmax()].tolist()!r}: nothing can be "
            f"learned from one level.{merged}"
        )
    if scale is None:
        warn_merged(y, levels)
    elif (counts == 0).any():
        warnings.warn(
            f"No training label is at level {', '.join(map(str, scale[counts == 0].tolist()))}; it "
            f"will hardly ever be predicted.{encoded_hint(y)}",
            UserWarning,
            stacklevel=4,
        )
    return levels


def warn_merged(y: NDArray[Any], levels: NDArray[Any]) -> None:
    """Warn if rounding labels to whole numbers looks like a mistake.

    Parameters
    ----------
    y : ndarray of shape (n,)
    levels : ndarray of shape (n_levels,)
        The whole numbers.

    Warns
    -----
    UserWarning
        With the number of values and of levels; see
        :func:`~sklearn_speechsent.metrics.levels.merged_values`.
    """
    n_values = merged_values(y, levels)
    if n_values:
        warnings.warn(
            f"{n_values} values became {len(levels)} levels, {levels.tolist()}: labels are "
            "rounded to whole numbers unless the scale is known. Pass levels=, such as "
            f"levels=np.unique(y), or levels={levels.tolist()} if rounding is what you want.",
            UserWarning,
            stacklevel=5,
        )


def level_accuracy(
    y: ArrayLike,
    predicted: NDArray[Any],
    levels: NDArray[Any],
    sample_weight: ArrayLike | None,
    *,
    given: bool,
) -> float:
    """Share of labels whose nearest level is the predicted one.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels; those without a level among ``levels`` count as wrong, whatever is predicted.
    predicted : ndarray of shape (n,)
        Values of ``levels``.
    levels : ndarray of shape (n_levels,)
        Levels that were learned, in ordinal order.
    sample_weight : array-like of shape (n,) or None
    given : bool
        Whether the levels are the whole scale. Otherwise they are the whole numbers that occurred
        in training, and a label that is nearer to another whole number has no level.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a prediction is NaN or a label is missing; the message names the rows.
    """
    is_text = levels.dtype.kind == "U"
    true, _ = read_labels(y, levels if is_text else None)
    found, _ = read_labels(predicted, levels if is_text else None, "y_pred")
    index = level_index(true, levels)
    unknown = off_scale(true, levels)
    if not given and not is_text:
        unknown |= np.abs(true.astype(np.float64) - levels[index].astype(np.float64)) > 0.5
    index[unknown] = -1
    return float(accuracy_score(index, level_index(found, levels), sample_weight=sample_weight))
