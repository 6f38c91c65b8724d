"""From continuous intensity to levels, the step that every ordinal metric shares."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_speechsent.metrics._checks import (
    SENTIMENT_LEVELS,
    IntArray,
    check_levels,
    check_values,
)


def round_to_levels(y: ArrayLike, levels: ArrayLike | range = SENTIMENT_LEVELS) -> IntArray:
    """Round continuous values to levels and clip them to the lowest and highest level.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Intensities in the scale of the levels, finite.
    levels : array-like of int of shape (n_levels,), default=range(-3, 4)
        The fixed, increasing set of levels. Consecutive integers round half to even as
        :func:`numpy.rint` does (0.5 becomes 0, 1.5 becomes 2). A scale with gaps, say
        one without a neutral level, takes the nearest level, the lower of two equally near.

    Returns
    -------
    ndarray of int64 of shape (n_samples,)
        The level of each value.

    Raises
    ------
    ValueError
        If `y` holds NaN or infinity or is not one-dimensional, or if `levels` are not
        at least two increasing integers.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import round_to_levels
    >>> round_to_levels([-3.7, -0.5, 0.5, 1.5, 2.49, 9])
    array([-3,  0,  0,  2,  2,  3])
    >>> round_to_levels([-0.2, 0.3, 1.8], levels=[-2, -1, 1, 2])
    array([-1,  1,  2])
    """
    steps = check_levels(levels)
    values = check_values(y, "y")
    if steps[-1] - steps[0] == len(steps) - 1:
        return np.clip(np.rint(values), steps[0], steps[-1]).astype(np.int64)
    return steps[np.abs(values[:, np.newaxis] - steps).argmin(axis=1)]


def level_ranks(y: ArrayLike, levels: ArrayLike | range) -> IntArray:
    """Return the position (0 … K-1) of each value's level; distances in levels come from it."""
    return np.searchsorted(check_levels(levels), round_to_levels(y, levels)).astype(np.int64)


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
