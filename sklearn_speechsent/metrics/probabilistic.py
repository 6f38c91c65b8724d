"""Metrics of the probabilities of levels, against labels or against votes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from sklearn_speechsent.metrics._checks import FloatArray, check_proba, check_weights
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS
from sklearn_speechsent.metrics.scale import scored_shares


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
        \big(P_i(\hat y \le l_k) - S_i(y \le l_k)\big)^2

    with S the share of the votes, which for a label is 0 or 1. It is the squared error of the
    cumulative distribution, summed over the K-1 thresholds [1]_ [2]_, and strictly proper. For a
    prediction that is certain of one level, and a label, it equals the distance in levels, which
    puts it on the scale of the MAE. Against votes, those themselves have no error.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, rounded to the levels; or text, if the levels are; or numbers or shares
        of votes for each level. Columns of a DataFrame are named after the levels and take the
        place of the default ones; those of an array are in the order of `levels`.
    proba : array-like of shape (n_samples, n_levels)
        Probability of each level, in the order of ``classes_``: numbers ascend, text is sorted, as
        columns of `predict_proba` are everywhere in scikit-learn.
    levels : array-like of shape (n_levels,), default=range(-3, 4)
        The fixed set of K levels, from the lowest to the highest.
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
        `proba` has not one column per level or its rows are not distributions, or `levels`
        are not two or more numbers in ascending order.

    See Also
    --------
    macro_mean_absolute_error : The same for predictions that are levels.

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
    true, columns, weight = _pair(y_true, proba, levels, sample_weight)
    gap = np.cumsum(columns - true, axis=1)[:, :-1]
    return float(np.average((gap**2).sum(axis=1), weights=weight))


def cross_entropy_error(
    y_true: ArrayLike,
    proba: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Cross-entropy of level probabilities with labels or votes; lower is better.

    .. math::
        -\frac{1}{n} \sum_i \sum_{k=1}^{K} S_i(l_k) \ln P_i(l_k)

    with S the share of the votes, which for a label is 0 or 1: then it is the log loss [1]_.
    Against votes not even a perfect prediction has 0, but their entropy. It knows no order of
    levels, and a level that was thought impossible costs a lot; see
    :func:`ranked_probability_error` for the opposite.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        See :func:`ranked_probability_error`.
    proba : array-like of shape (n_samples, n_levels)
        Probability of each level, in the order of ``classes_``. Those below 2.2e-16 count as that.
    levels : array-like of shape (n_levels,), default=range(-3, 4)
        The fixed set of K levels, from the lowest to the highest.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Error in nats, from 0.

    Raises
    ------
    ValueError
        As :func:`ranked_probability_error`.

    References
    ----------
    .. [1] I. J. Good (1952). "Rational decisions". Journal of the Royal Statistical Society B
       14(1):107-114.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import cross_entropy_error
    >>> cross_entropy_error([[1, 1], [0, 2]], [[0.5, 0.5], [0.5, 0.5]], levels=[-1, 1])
    0.693...
    """
    true, columns, weight = _pair(y_true, proba, levels, sample_weight)
    logarithms = np.log(np.maximum(columns, np.finfo(np.float64).eps))
    return float(np.average(-(true * logarithms).sum(axis=1), weights=weight))


def _pair(
    y_true: Any, proba: ArrayLike, levels: ArrayLike | range, sample_weight: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shares and probabilities of levels in ordinal order, and weights."""
    true, scale = scored_shares(y_true, levels)
    columns = check_proba(proba, len(scale))[:, np.argsort(np.argsort(scale))]
    check_consistent_length(true, columns)
    return true, columns, check_weights(sample_weight, len(true))
