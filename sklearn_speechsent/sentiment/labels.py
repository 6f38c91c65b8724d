"""Levels that an estimator learns from its labels, with errors and warnings about them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.metrics.levels import merged_values, observed_levels
from sklearn_speechsent.metrics.scale import encoded_hint, refuse_off, target_shares


def check_scale(y: NDArray[Any], scale: NDArray[Any] | None, name: str = "y") -> None:
    """Raise for labels off the scale, if it is known.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, n_levels)
    scale : ndarray of shape (n_levels,) or None
        As :func:`~sklearn_speechsent.metrics.scale.read_target` returns them, or learned before.
    name : str, default="y"
        In messages.

    Raises
    ------
    ValueError
        The message names label and row.
    """
    if scale is not None and y.ndim == 1:
        refuse_off(y, scale, "Correct it, or pass other levels to the first fit.", name)


def find_levels(y: NDArray[Any], scale: NDArray[Any] | None) -> NDArray[Any]:
    """Levels to learn, in ordinal order.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, n_levels)
        Labels, none off the scale, or shares of votes.
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
    counts = target_shares(y, levels).sum(axis=0)
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
