"""Ordinal scales and the one rule that gives a value its level.

On consecutive whole levels a value is rounded half to even, as :func:`numpy.rint` does. On any
other scale of numbers, with gaps or with fractions, it takes the nearest level, the lower of two
equally near. Text has to be equal to its level.
Training, metrics, displays, loaders and splitters all use these functions.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sklearn_speechsent.metrics.labels import (
    NUMBERS,
    as_array,
    name_rows,
    reads_as,
)

IntArray = NDArray[np.int64]
SENTIMENT_LEVELS = range(-3, 4)
#: Beyond this not every whole number is a float64.
_LARGEST_INTEGER = 2.0**53


def check_levels(levels: ArrayLike | range) -> NDArray[Any]:
    """Levels of a scale as an array.

    Parameters
    ----------
    levels : array-like of shape (n_levels,)
        Numbers, or text from the lowest to the highest level.

    Returns
    -------
    ndarray of shape (n_levels,)
        int64 if all levels are whole numbers, otherwise float64; str if they are text.

    Raises
    ------
    ValueError
        If they are not two or more different finite numbers in ascending order or different texts.

    Examples
    --------
    >>> check_levels([-1.0, 0.0, 1.0]), check_levels([-1.5, 0, 2])
    (array([-1,  0,  1]), array([-1.5,  0. ,  2. ]))
    >>> check_levels(["low", "high"])
    array(['low', 'high'], dtype='<U4')
    """
    array = as_array(levels)
    if array.ndim == 1 and len(array) >= 2 and array.dtype.kind == "U":
        if len(np.unique(array)) == len(array):
            _check_order_of_text(array)
            return array
    elif array.ndim == 1 and len(array) >= 2 and array.dtype.kind in NUMBERS:
        steps = array.astype(np.float64)
        if np.isfinite(steps).all() and (np.diff(steps) > 0).all():
            whole = np.array_equal(steps, np.rint(steps)) and np.abs(steps).max() < _LARGEST_INTEGER
            return steps.astype(np.int64) if whole else steps
    raise ValueError(
        "levels must be two or more different numbers in ascending order, such as [-1, 0, 1], or "
        f'different texts from the lowest to the highest, such as ["low", "high"]; got {levels!r}.'
    )


def as_scale(levels: ArrayLike | range) -> NDArray[Any]:
    """Levels of a scale as an array, numbers in any order.

    Parameters
    ----------
    levels : array-like of shape (n_levels,)

    Returns
    -------
    ndarray of shape (n_levels,)
        As :func:`check_levels` returns it.

    Raises
    ------
    ValueError
        As :func:`check_levels`.

    Examples
    --------
    >>> as_scale([1, -1])
    array([-1,  1])
    """
    given = as_array(levels)
    return check_levels(np.sort(given) if given.dtype.kind in NUMBERS else levels)


def as_order(order: NDArray[Any]) -> NDArray[Any]:
    """Levels of an ordered category, whose numbers may descend.

    Parameters
    ----------
    order : ndarray of shape (n_levels,)

    Returns
    -------
    ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        As :func:`check_levels`, unless they are numbers that do not ascend.
    """
    return check_levels(order) if order.dtype.kind == "U" or ascends(order) else order


def _check_order_of_text(levels: NDArray[Any]) -> None:
    """Refuse text that reads as numbers in an order that is not that of the numbers."""
    numbers = [reads_as(level) for level in levels.tolist()]
    known = [number for number in numbers if number is not None]
    if len(known) == len(numbers) and (np.diff(known) <= 0).any():
        raise ValueError(
            f"The levels {levels.tolist()} are numbers as text, and their order is not that of the "
            "numbers. Convert labels and levels to numbers (pd.to_numeric)."
        )


def ascends(levels: NDArray[Any]) -> bool:
    """Whether levels are numbers in ascending order, so that values in between have a level."""
    return levels.dtype.kind in NUMBERS and bool((np.diff(levels.astype(np.float64)) > 0).all())


def level_index(y: NDArray[Any], levels: NDArray[Any]) -> IntArray:
    """Position of each value's level in the scale, by the rule of this module.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Finite numbers, of which those beyond the ends of the scale belong to its first and last
        level; or text.
    levels : ndarray of shape (n_levels,)
        From the lowest to the highest, see :func:`read_labels`.

    Returns
    -------
    ndarray of int64 of shape (n,)
        0 … n_levels - 1; -1 where a text is not among the levels.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([-0.4, 0.0, 0.5, 1.5])
    >>> level_index(y, np.array([-1, 0, 1, 2]))
    array([1, 1, 1, 3])
    >>> level_index(y, np.array([-1, 1, 2]))
    array([0, 0, 1, 1])
    >>> level_index(np.array(["low", "high"]), np.array(["low", "medium", "high"]))
    array([0, 2])
    """
    if not ascends(levels):
        found = pd.Index(levels, dtype=object).get_indexer(pd.Index(y, dtype=object))
        return found.astype(np.int64)
    values, steps = np.asarray(y, dtype=np.float64), np.asarray(levels, dtype=np.float64)
    if np.array_equal(steps, np.rint(steps[0]) + np.arange(len(steps))):
        return np.clip(np.rint(values) - steps[0], 0, len(steps) - 1).astype(np.int64)
    return np.searchsorted((steps[1:] + steps[:-1]) / 2, values, side="left").astype(np.int64)


def off_scale(y: NDArray[Any], levels: NDArray[Any]) -> NDArray[np.bool_]:
    """Find labels that have no level: further beyond an end than half a level, and never 0.5.

    Parameters
    ----------
    y : ndarray of shape (n,)
    levels : ndarray of shape (n_levels,)

    Returns
    -------
    ndarray of bool of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> off_scale(np.array([-1.6, -1.5, 3.0]), np.array([-1, 0, 1]))
    array([ True, False,  True])
    """
    if not ascends(levels):
        return level_index(y, levels) < 0
    values, steps = np.asarray(y, dtype=np.float64), levels.astype(np.float64)
    margin = np.minimum(np.diff(steps)[[0, -1]] / 2, 0.5)
    return (values < steps[0] - margin[0]) | (values > steps[-1] + margin[1])


def round_to_integers(y: NDArray) -> NDArray:
    """Levels of values whose scale is not known: the nearest whole numbers, halves to even.

    Parameters
    ----------
    y : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
        Of the type of `y`, which comes back as it is unless it holds floats.

    Examples
    --------
    >>> import numpy as np
    >>> round_to_integers(np.array([-0.4, 0.5, 1.5]))
    array([0., 0., 2.])
    """
    return np.rint(y) + 0.0 if y.dtype.kind == "f" else y  # + 0.0 makes -0.0 an ordinary zero


def observed_levels(y: NDArray) -> NDArray:
    """Levels that occur in values whose scale is not known.

    Every one of them has a value under :func:`level_index`.

    Parameters
    ----------
    y : ndarray of numbers of shape (n,)

    Returns
    -------
    ndarray of shape (n_levels,)
        Whole numbers in ascending order, of the type of `y`.

    Examples
    --------
    >>> import numpy as np
    >>> observed_levels(np.array([-2.2, 0.9, 1.2]))
    array([-2.,  1.])
    """
    found = np.unique(round_to_integers(y))
    # Next to a gap, 1.5 belongs to 1 and not to 2: 2 goes if it had nothing else.
    return found[np.unique(level_index(y, found))]


def merged_values(y: NDArray, levels: NDArray) -> int:
    """Count distinct values that whole levels cannot tell apart, where this looks like a mistake.

    Means of several ratings lie between whole levels, and rounding them is what is wanted. Labels
    look like another scale if they span two or less (0 … 1, -1 … 1), or if no two values are
    closer than one half (half stars).

    Parameters
    ----------
    y : ndarray of numbers of shape (n,)
    levels : ndarray of shape (n_levels,)
        As :func:`observed_levels` returns them.

    Returns
    -------
    int
        Number of values; 0 where rounding is what is wanted.

    Examples
    --------
    >>> import numpy as np
    >>> merged_values(np.array([0, 0.25, 0.5, 0.75, 1]), np.array([0, 1]))
    5
    >>> thirds = np.arange(-9, 10) / 3
    >>> merged_values(thirds, observed_levels(thirds))
    0
    """
    values = np.unique(y).astype(np.float64)
    merged = len(values) > len(levels)
    other_scale = merged and (np.ptp(values) <= 2 or np.diff(values).min() >= 0.5)
    return len(values) if other_scale else 0


def whole_levels(y: NDArray) -> IntArray:
    """All whole numbers between the lowest and the highest of values whose scale is not known.

    Parameters
    ----------
    y : ndarray of numbers of shape (n,)

    Returns
    -------
    ndarray of int64 of shape (n_levels,)

    Examples
    --------
    >>> import numpy as np
    >>> whole_levels(np.array([-1.2, 0.4, 2.5]))
    array([-1,  0,  1,  2])
    """
    return np.arange(np.rint(np.min(y)), np.rint(np.max(y)) + 1).astype(np.int64)


def sampling_weights(index: NDArray[np.int64], exponent: float) -> NDArray[np.float64] | None:
    """Probability of drawing each utterance, by the rarity of its level.

    Parameters
    ----------
    index : ndarray of int of shape (n,)
        Level of each utterance.
    exponent : float
        Probabilities go with frequency to the power of minus ``exponent``: 1 draws all levels
        equally often, 0 (returning None) leaves them as they are.

    Returns
    -------
    ndarray of shape (n,) summing to 1, or None

    Examples
    --------
    >>> import numpy as np
    >>> sampling_weights(np.array([0, 0, 0, 1]), exponent=1.0).round(3)
    array([0.167, 0.167, 0.167, 0.5  ])
    """
    if exponent == 0:
        return None
    weights = np.bincount(index).astype(np.float64)[index] ** -exponent
    return weights / weights.sum()


def nan_where(levels: NDArray, unknown: NDArray, on_error: str = "nan") -> NDArray:
    """Predicted levels where none can be given for some rows.

    Parameters
    ----------
    levels : ndarray of shape (n,)
    unknown : ndarray of bool of shape (n,)
    on_error : {"raise", "nan"}, default="nan"

    Returns
    -------
    ndarray of shape (n,)
        `levels` if all are known; otherwise NaN among floats, or among objects for text.

    Raises
    ------
    ValueError
        If some are unknown and `on_error` is "raise"; the message names the rows.
    """
    if not unknown.any():
        return levels
    if on_error == "raise":
        raise ValueError(
            f"No level can be given for {name_rows(unknown)} ({int(unknown.sum())} of "
            f"{len(unknown)}), whose features are NaN: the recording cannot be used or holds no "
            'speech. Leave such rows out, use predict_proba, or set on_error="nan".'
        )
    found = levels.astype(np.float64 if levels.dtype.kind in NUMBERS else object)
    found[unknown] = np.nan
    return found
