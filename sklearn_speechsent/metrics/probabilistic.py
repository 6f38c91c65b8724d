"""Metrics of the probabilities of levels."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from sklearn_speechsent.metrics._checks import check_proba, check_weights
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS, level_index
from sklearn_speechsent.metrics.scale import scored_labels


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
        True intensities, rounded to the levels; or text, if the levels are.
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
    true, scale = scored_labels(y_true, levels)
    columns = check_proba(proba, len(scale))[:, np.argsort(np.argsort(scale))]
    check_consistent_length(true, columns)
    weight = check_weights(sample_weight, len(true))
    thresholds = np.arange(columns.shape[1] - 1)
    reached = level_index(true, scale)[:, np.newaxis] <= thresholds
    gap = np.cumsum(columns, axis=1)[:, :-1] - reached
    return float(np.average((gap**2).sum(axis=1), weights=weight))
