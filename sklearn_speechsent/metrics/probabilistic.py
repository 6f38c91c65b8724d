"""Metrics of the probabilities of levels."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length

from sklearn_speechsent.metrics._checks import FloatArray, IntArray, check_values, check_weights
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS, check_levels, level_index


def check_proba(
    proba: ArrayLike, levels: ArrayLike | range
) -> tuple[FloatArray, IntArray | FloatArray]:
    """Return probabilities and levels as arrays; ValueError unless each row is a distribution."""
    steps = check_levels(levels)
    columns = check_array(proba, dtype=np.float64, input_name="proba")
    if columns.shape[1] != len(steps):
        raise ValueError(f"proba has {columns.shape[1]} columns for {len(steps)} levels.")
    if columns.min() < 0 or not np.allclose(columns.sum(axis=1), 1, atol=1e-3):
        raise ValueError("Each row of proba must be non-negative and sum to 1.")
    return columns, steps


def align_proba(proba: ArrayLike, classes: ArrayLike, levels: ArrayLike | range) -> FloatArray:
    """Spread the columns of the classes seen in training over all levels, 0 for the others."""
    steps, seen = check_levels(levels), np.asarray(classes)
    columns = check_array(proba, dtype=np.float64, input_name="proba")
    if columns.shape[1] != len(seen):
        raise ValueError(f"proba has {columns.shape[1]} columns for {len(seen)} classes.")
    if not np.isin(seen, steps).all():
        raise ValueError(f"The classes {seen.tolist()} are not all levels of {steps.tolist()}.")
    aligned = np.zeros((len(columns), len(steps)))
    aligned[:, np.searchsorted(steps, seen)] = columns
    return aligned


def ranked_probability_error(
    y_true: ArrayLike,
    proba: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Ranked probability score (RPS) of level probabilities; lower is better.

    .. math::
        \frac{1}{n} \sum_i \sum_{k=1}^{K-1}
        \big(P_i(\hat y \le l_k) - \mathbb 1[y_i \le l_k]\big)^2

    It is the squared error of the cumulative distribution, summed over the K-1 thresholds
    [1]_ [2]_, and strictly proper. For a prediction that is certain of one level it equals the
    distance in levels, which puts it on the scale of the MAE.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True intensities; rounded and clipped to the levels.
    proba : array-like of shape (n_samples, n_levels)
        Probability of each level.
    levels : array-like of numbers of shape (n_levels,), default=range(-3, 4)
        The fixed set of K levels, one per column of `proba`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Error in [0, K-1]; 0 is perfect.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, weights are negative or all zero,
        `proba` has not one column per level or its rows are no distributions, or `levels`
        are not two or more numbers in ascending order.

    References
    ----------
    .. [1] E. S. Epstein (1969). "A scoring system for probability forecasts of ranked
       categories". Journal of Applied Meteorology 8(6):985-987.
    .. [2] A. H. Murphy (1971). "A note on the ranked probability score". Journal of Applied
       Meteorology 10(1):155-156.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import ranked_probability_error
    >>> ranked_probability_error([1, -1], [[0, 0.5, 0.5], [0, 0, 1]], levels=[-1, 0, 1])
    1.125
    """
    columns, steps = check_proba(proba, levels)
    true = check_values(y_true, "y_true")
    check_consistent_length(true, columns)
    weight = check_weights(sample_weight, len(true))
    thresholds = np.arange(columns.shape[1] - 1)
    reached = level_index(true, steps)[:, np.newaxis] <= thresholds
    gap = np.cumsum(columns, axis=1)[:, :-1] - reached
    return float(np.average((gap**2).sum(axis=1), weights=weight))
