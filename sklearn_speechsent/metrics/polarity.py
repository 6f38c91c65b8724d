"""Accuracy and F1 of polarity, under a name of its own for each of the two readings of Acc-2.

Both use the sign of raw values. Rounding first would make every prediction between -0.5 and 0.5
neutral, which counts as negative.
"""

import warnings

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, f1_score

from sklearn_speechsent.metrics._checks import FloatArray, check_pair, check_proba
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS, check_levels


def _drop_neutral(
    true: FloatArray, pred: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the items whose truth is not 0; warn if there are none."""
    polar = true != 0
    if not polar.any():
        message = "Every true value is 0: polarity is undefined and set to NaN."
        warnings.warn(message, UndefinedMetricWarning, stacklevel=3)
    return true[polar], pred[polar], weight[polar]


def polarity_accuracy_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    r"""Acc-2, negative against positive, over the items whose truth is not 0.

    .. math::
        \frac{1}{|\{i: y_i \ne 0\}|} \sum_{i:\, y_i \ne 0}
        \mathbb 1\big[[y_i > 0] = [\hat y_i > 0]\big]

    A prediction of exactly 0 counts as negative. For an ordinal classifier pass
    :func:`polarity_from_proba` as the prediction.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, not rounded; of votes the means.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Accuracy in [0, 1]; NaN with an ``UndefinedMetricWarning`` if every truth is 0.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, or weights are negative or all zero.

    References
    ----------
    .. [1] Y.-H. H. Tsai et al. (2019). "Multimodal transformer for unaligned multimodal
       language sequences". Proc. ACL, 6558-6569.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import polarity_accuracy_score
    >>> polarity_accuracy_score([-2, -1, 0, 1, 2], [-1, 0, 0, 0, 0.1])
    0.75
    """
    true, pred, weight = _drop_neutral(*check_pair(y_true, y_pred, sample_weight))
    if len(true) == 0:
        return float("nan")
    return float(accuracy_score(true > 0, pred > 0, sample_weight=weight))


def polarity_f1_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    r"""F1 of negative and positive, weighted by their frequency, over truth that is not 0.

    .. math::
        \sum_{c \in \{-, +\}} \frac{n_c}{n} \frac{2\,TP_c}{2\,TP_c + FP_c + FN_c}

    A prediction of exactly 0 counts as negative, as in :func:`polarity_accuracy_score`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, not rounded; of votes the means.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        F1 in [0, 1]; NaN with an ``UndefinedMetricWarning`` if every truth is 0.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, or weights are negative or all zero.

    References
    ----------
    .. [1] Y.-H. H. Tsai et al. (2019). "Multimodal transformer for unaligned multimodal
       language sequences". Proc. ACL, 6558-6569.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import polarity_f1_score
    >>> round(polarity_f1_score([-2, -1, 0, 1, 2], [-1, 0, 0, 0, 0.1]), 3)
    0.733
    """
    true, pred, weight = _drop_neutral(*check_pair(y_true, y_pred, sample_weight))
    if len(true) == 0:
        return float("nan")
    return _weighted_f1(true > 0, pred > 0, weight)


def nonnegative_accuracy_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    r"""Acc-2, negative against non-negative, over all items.

    .. math::
        \frac{1}{n} \sum_i \mathbb 1\big[[y_i \ge 0] = [\hat y_i \ge 0]\big]

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, not rounded; of votes the means.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Accuracy in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, or weights are negative or all zero.

    References
    ----------
    .. [1] A. Zadeh et al. (2018). "Multimodal language analysis in the wild: CMU-MOSEI dataset
       and interpretable dynamic fusion graph". Proc. ACL, 2236-2246.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import nonnegative_accuracy_score
    >>> nonnegative_accuracy_score([-2, -1, 0, 1, 2], [-1, 0, 0, 0, 0.1])
    0.8
    """
    true, pred, weight = check_pair(y_true, y_pred, sample_weight)
    return float(accuracy_score(true >= 0, pred >= 0, sample_weight=weight))


def nonnegative_f1_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    r"""F1 of negative and non-negative, weighted by their frequency, over all items.

    .. math::
        \sum_{c} \frac{n_c}{n} \frac{2\,TP_c}{2\,TP_c + FP_c + FN_c}

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, not rounded; of votes the means.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        F1 in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, or weights are negative or all zero.

    References
    ----------
    .. [1] A. Zadeh et al. (2018). "Multimodal language analysis in the wild: CMU-MOSEI dataset
       and interpretable dynamic fusion graph". Proc. ACL, 2236-2246.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import nonnegative_f1_score
    >>> round(nonnegative_f1_score([-2, -1, 0, 1, 2], [-1, 0, 0, 0, 0.1]), 3)
    0.781
    """
    true, pred, weight = check_pair(y_true, y_pred, sample_weight)
    return _weighted_f1(true >= 0, pred >= 0, weight)


def _weighted_f1(true: ArrayLike, pred: ArrayLike, weight: FloatArray) -> float:
    return float(f1_score(true, pred, average="weighted", sample_weight=weight, zero_division=0))


def polarity_from_proba(
    proba: ArrayLike, levels: ArrayLike | range = SENTIMENT_LEVELS
) -> FloatArray:
    r"""Polarity of an ordinal classifier, read from its level probabilities.

    .. math::
        P(y > 0) - P(y < 0)

    The sign says which side is more probable. A rounded level does not: it is 0, and so
    negative, whenever the neutral level is the most probable, however one-sided the rest is.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_levels)
        Probability of each level.
    levels : array-like of numbers of shape (n_levels,), default=range(-3, 4)
        The levels of the columns.

    Returns
    -------
    ndarray of shape (n_samples,)
        Values in [-1, 1], to be passed as `y_pred` to :func:`polarity_accuracy_score`.

    Raises
    ------
    ValueError
        If `proba` has not one column per level or its rows are not distributions, or `levels`
        are not two or more numbers in ascending order.

    References
    ----------
    .. [1] W. Cao, V. Mirjalili and S. Raschka (2020). "Rank consistent ordinal regression for
       neural networks with application to age estimation". Pattern Recognition Letters
       140:325-331.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import polarity_from_proba
    >>> polarity_from_proba([[0.125, 0.5, 0.375], [0.5, 0.25, 0.25]], levels=[-1, 0, 1])
    array([ 0.25, -0.25])
    """
    steps = check_levels(levels)
    if steps.dtype.kind == "U":
        raise ValueError(f"levels={steps.tolist()} have no sign: polarity needs numbers.")
    columns = check_proba(proba, len(steps))
    return columns @ np.sign(steps).astype(np.float64)
