"""Metrics of the distance between levels, with truth and prediction rounded to them.

The levels are a parameter and never taken from the data, so distances are the same in a fold that
lacks a rare level.
"""

import numpy as np
from numpy.typing import ArrayLike

from sklearn_speechsent.metrics.agreement import concordance_correlation_score
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS
from sklearn_speechsent.metrics.scale import level_pair


def macro_mean_absolute_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Macro-averaged mean absolute error: the mean of one MAE per true level.

    .. math::
        MAE^M = \frac{1}{|L|} \sum_{l \in L} \frac{1}{n_l} \sum_{i:\, y_i = l} |\hat y_i - l|

    where L are the levels that occur in the truth, so a rare level counts as much as a frequent
    one and a constant predictor cannot hide behind the majority [1]_.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, rounded to the levels; or text, if the levels are; of votes the medians.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, rounded and clipped to the levels; or text.
    levels : array-like of shape (n_levels,), default=range(-3, 4)
        The fixed set of levels, from the lowest to the highest.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item within its level.

    Returns
    -------
    float
        Error in the unit of the levels, for text in levels; 0 is perfect.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, weights are negative or all zero, or
        `levels` are not two or more numbers in ascending order.

    References
    ----------
    .. [1] S. Baccianella, A. Esuli and F. Sebastiani (2009). "Evaluation measures for ordinal
       regression". Proc. ISDA, 283-287.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import macro_mean_absolute_error
    >>> macro_mean_absolute_error([0, 0, 0, 2], [0, 0, 0, 0])
    1.0
    """
    true, pred, weight, scale = level_pair(y_true, y_pred, levels, sample_weight)
    values = scale if scale.dtype.kind != "U" else np.arange(len(scale))
    weight_of_level = np.bincount(true, weight)
    occurs = weight_of_level > 0
    error_of_level = np.bincount(true, weight * np.abs(values[true] - values[pred]))
    return float(np.mean(error_of_level[occurs] / weight_of_level[occurs]))


def quadratic_weighted_kappa_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Cohen's kappa of levels with quadratic weights (QWK).

    .. math::
        \kappa = 1 - \frac{\sum_{jk} (j-k)^2 O_{jk}}{\sum_{jk} (j-k)^2 E_{jk}}

    with O the confusion matrix over the positions of the levels and E the one expected from
    its margins [1]_. Written out, this is the concordance correlation of the positions [2]_,
    which is how it is computed.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, rounded to the levels; or text, if the levels are; of votes the medians.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, rounded and clipped to the levels; or text.
    levels : array-like of numbers of shape (n_levels,), default=range(-3, 4)
        The fixed set of levels; the distance of two levels is their difference in position.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Kappa in [-1, 1]; 1 is perfect. 0.0 if the truth or the prediction has one level only.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, weights are negative or all zero, or
        `levels` are not two or more numbers in ascending order.

    See Also
    --------
    concordance_correlation_score : Its counterpart for real numbers.

    References
    ----------
    .. [1] J. Cohen (1968). "Weighted kappa: nominal scale agreement with provision for scaled
       disagreement or partial credit". Psychological Bulletin 70(4):213-220.
    .. [2] C. Schuster (2004). "A note on the interpretation of weighted kappa and its relations
       to other rater agreement statistics for metric scales". Educational and Psychological
       Measurement 64(2):243-253.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import quadratic_weighted_kappa_score
    >>> quadratic_weighted_kappa_score([-1, 0, 1, 3], [-1, 0, 2, 3])
    0.947...
    >>> quadratic_weighted_kappa_score([-1, 0, 1, 3], [0, 0, 0, 0])
    0.0
    """
    true, pred, weight, _ = level_pair(y_true, y_pred, levels, sample_weight)
    return concordance_correlation_score(true, pred, sample_weight=weight)


def threshold_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Mean accuracy of the K-1 binary decisions "above level k?".

    .. math::
        \frac{1}{K-1} \sum_{k=1}^{K-1} \frac{1}{n} \sum_i
        \mathbb 1\big[[y_i > l_k] = [\hat y_i > l_k]\big] = 1 - \frac{MAE}{K-1}

    with the MAE of rounded and clipped levels. It is the accuracy of the tasks that CORAL
    learns [1]_ and must not be mistaken for polarity accuracy: always answering 0 reaches
    86.43 % on the CMU-MOSEI test set.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, rounded to the levels; or text, if the levels are; of votes the medians.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, rounded and clipped to the levels; or text.
    levels : array-like of numbers of shape (n_levels,), default=range(-3, 4)
        The fixed set of K levels; distances are counted in levels.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Accuracy in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, weights are negative or all zero, or
        `levels` are not two or more numbers in ascending order.

    References
    ----------
    .. [1] W. Cao, V. Mirjalili and S. Raschka (2020). "Rank consistent ordinal regression for
       neural networks with application to age estimation". Pattern Recognition Letters
       140:325-331.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import threshold_accuracy_score
    >>> threshold_accuracy_score([-2, 0, 1, 3], [-2, 0, 1, 0])
    0.875
    """
    true, pred, weight, scale = level_pair(y_true, y_pred, levels, sample_weight)
    return float(1 - np.average(np.abs(true - pred), weights=weight) / (len(scale) - 1))


def within_one_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Fraction of items whose predicted level is the true one or its neighbour.

    .. math::
        \frac{1}{n} \sum_i \mathbb 1\big[\, |y_i - \hat y_i| \le 1 \,\big]

    over rounded and clipped levels, distances counted in levels [1]_.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, rounded to the levels; or text, if the levels are; of votes the medians.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, rounded and clipped to the levels; or text.
    levels : array-like of shape (n_levels,), default=range(-3, 4)
        The fixed set of levels, from the lowest to the highest.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Accuracy in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, weights are negative or all zero, or
        `levels` are not two or more numbers in ascending order.

    References
    ----------
    .. [1] L. Gaudette and N. Japkowicz (2009). "Evaluation methods for ordinal
       classification". Proc. Canadian Conference on Artificial Intelligence, 207-210.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import within_one_accuracy_score
    >>> within_one_accuracy_score([-2, 0, 1, 3], [-1, 0.4, 2.2, 0])
    0.75
    """
    true, pred, weight, _ = level_pair(y_true, y_pred, levels, sample_weight)
    return float(np.average(np.abs(true - pred) <= 1, weights=weight))
