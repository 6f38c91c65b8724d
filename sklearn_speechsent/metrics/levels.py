"""Ordinal scales and the one rule that gives a value its level.

On consecutive whole levels a value is rounded half to even, as :func:`numpy.rint` does. On any
other scale, with gaps or with fractions, it takes the nearest level, the lower of two equally near.
Training, metrics, displays, loaders and splitters all use these functions.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_speechsent.metrics._checks import FloatArray, IntArray, check_values

SENTIMENT_LEVELS = range(-3, 4)
#: Beyond this not every whole number is a float64.
_LARGEST_INTEGER = 2.0**53


def check_levels(levels: ArrayLike | range) -> IntArray | FloatArray:
    """Levels of a scale as an array.

    Parameters
    ----------
    levels : array-like of numbers of shape (n_levels,)

    Returns
    -------
    ndarray of shape (n_levels,)
        int64 if all levels are whole numbers, otherwise float64.

    Raises
    ------
    ValueError
        If they are not two or more different finite numbers in ascending order.

    Examples
    --------
    >>> check_levels([-1.0, 0.0, 1.0]), check_levels([-1.5, 0, 2])
    (array([-1,  0,  1]), array([-1.5,  0. ,  2. ]))
    """
    array = np.asarray(levels)
    valid = array.ndim == 1 and len(array) >= 2 and array.dtype.kind in "biufO"
    if valid:
        try:
            steps = array.astype(np.float64)
        except (TypeError, ValueError):
            valid = False
    if not valid or not np.isfinite(steps).all() or (np.diff(steps) <= 0).any():
        raise ValueError(
            "levels must be two or more different numbers in ascending order, such as [-1, 0, 1]; "
            f"got {levels!r}."
        )
    whole = np.array_equal(steps, np.rint(steps)) and np.abs(steps).max() < _LARGEST_INTEGER
    return steps.astype(np.int64) if whole else steps


def level_index(y: NDArray, levels: NDArray) -> IntArray:
    """Position of each value's level in the scale, by the rule of this module.

    Parameters
    ----------
    y : ndarray of numbers of shape (n,)
        Finite. Values beyond the ends of the scale belong to its first and last level.
    levels : ndarray of numbers of shape (n_levels,)
        In ascending order, see :func:`check_levels`.

    Returns
    -------
    ndarray of int64 of shape (n,)
        0 … n_levels - 1.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([-0.4, 0.0, 0.5, 1.5])
    >>> level_index(y, np.array([-1, 0, 1, 2]))
    array([1, 1, 1, 3])
    >>> level_index(y, np.array([-1, 1, 2]))
    array([0, 0, 1, 1])
    """
    values, steps = np.asarray(y, dtype=np.float64), np.asarray(levels, dtype=np.float64)
    if np.array_equal(steps, np.rint(steps[0]) + np.arange(len(steps))):
        return np.clip(np.rint(values) - steps[0], 0, len(steps) - 1).astype(np.int64)
    return np.searchsorted((steps[1:] + steps[:-1]) / 2, values, side="left").astype(np.int64)


def round_to_levels(
    y: ArrayLike, levels: ArrayLike | range = SENTIMENT_LEVELS
) -> IntArray | FloatArray:
    """Round continuous values to levels and clip them to the lowest and highest level.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Intensities in the scale of the levels, finite.
    levels : array-like of numbers of shape (n_levels,), default=range(-3, 4)
        The fixed set of levels in ascending order. Consecutive integers round half to even as
        :func:`numpy.rint` does (0.5 becomes 0, 1.5 becomes 2). Any other scale, say one without
        a neutral level, takes the nearest level, the lower of two equally near.

    Returns
    -------
    ndarray of shape (n_samples,)
        The level of each value: int64 if all levels are whole numbers, otherwise float64.

    Raises
    ------
    ValueError
        If `y` holds NaN or infinity or is not one-dimensional, or if `levels` are not
        two or more numbers in ascending order.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import round_to_levels
    >>> round_to_levels([-3.7, -0.5, 0.5, 1.5, 2.49, 9])
    array([-3,  0,  0,  2,  2,  3])
    >>> round_to_levels([-0.2, 0.3, 1.8], levels=[-2, -1, 1, 2])
    array([-1,  1,  2])
    >>> round_to_levels([-0.7, 0.4, 1.2], levels=[-1.5, 0, 2])
    array([0., 0., 2.])
    """
    steps = check_levels(levels)
    return steps[level_index(check_values(y, "y"), steps)]


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


def nan_where(levels: NDArray, unknown: NDArray) -> NDArray:
    """Predicted levels with NaN where none can be given.

    Parameters
    ----------
    levels : ndarray of shape (n,)
    unknown : ndarray of bool of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
        Of floats if there is one that is unknown.

    Raises
    ------
    ValueError
        If one is unknown and levels are not numbers.
    """
    if not unknown.any():
        return levels
    if levels.dtype.kind not in "iufb":
        raise ValueError(
            f"There is no level for row {int(np.flatnonzero(unknown)[0])}, and NaN is not among "
            f"labels of dtype {levels.dtype}. Use numbers as labels, or predict_proba."
        )
    return np.where(unknown, np.nan, levels.astype(np.float64))
