"""Report with all numbers of the evaluation protocol."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import mean_absolute_error

from sklearn_speechsent.metrics._checks import check_pair
from sklearn_speechsent.metrics.agreement import concordance_correlation_score, spearman_score
from sklearn_speechsent.metrics.exact import rounded_accuracy_score
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS
from sklearn_speechsent.metrics.ordinal import (
    macro_mean_absolute_error,
    quadratic_weighted_kappa_score,
    threshold_accuracy_score,
    within_one_accuracy_score,
)
from sklearn_speechsent.metrics.polarity import polarity_accuracy_score
from sklearn_speechsent.metrics.scale import level_pair
from sklearn_speechsent.metrics.votes import mean_votes, median_votes


def ordinal_report(
    y_true: ArrayLike, y_pred: ArrayLike, levels: ArrayLike | range = SENTIMENT_LEVELS
) -> dict[str, float]:
    r"""Score intensities by the evaluation protocol.

    Pool the out-of-fold predictions first and score them once. ``mae``, ``spearman`` and ``ccc``
    take the predictions as they are; so does ``polarity_accuracy``, which reads their sign where
    the truth is not 0 (an exact 0 counts as negative). ``qwk``, ``accuracy``, ``macro_mae``,
    ``within_one`` and ``threshold_accuracy`` = 1 - MAE / (K-1) take truth and prediction rounded
    and clipped to the levels.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities. Of votes, what takes predictions as they are compares with the mean, and
        what takes levels with the median.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, continuous or levels.
    levels : array-like of numbers of shape (n_levels,), default=range(-3, 4)
        The fixed set of K levels.

    Returns
    -------
    dict of str to float
        Keys ``mae, spearman, ccc, qwk, accuracy, macro_mae, polarity_accuracy, within_one,
        threshold_accuracy``, in this order. Correlations and kappa of a constant are 0.0. Of text,
        all are about positions in the scale, and ``polarity_accuracy`` is NaN.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, or `levels` are not two or more
        numbers in ascending order.

    See Also
    --------
    get_scorer : One of the figures, for a search.
    LevelConfusionDisplay : A picture of the same predictions.

    References
    ----------
    .. [1] S. Baccianella, A. Esuli and F. Sebastiani (2009). "Evaluation measures for ordinal
       regression". Proc. ISDA, 283-287.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import ordinal_report
    >>> report = ordinal_report([-2, -1, 0, 1, 2], [-1.2, -0.8, 0.1, 0.4, 1.9], range(-2, 3))
    >>> round(report["mae"], 2), report["accuracy"], report["within_one"]
    (0.36, 0.6, 1.0)
    """
    true: NDArray[Any]
    pred: NDArray[Any]
    true, pred, _, scale = level_pair(y_true, y_pred, levels)
    label: NDArray[Any] = true
    if scale.dtype.kind == "U" or not np.array_equal(scale, np.sort(scale)):
        scale, polarity = np.arange(len(scale)), float("nan")
    else:
        label = median_votes(y_true, scale, "y_true")
        true, pred, _ = check_pair(mean_votes(y_true, scale, "y_true"), y_pred)
        polarity = polarity_accuracy_score(true, pred)
    return {
        "mae": float(mean_absolute_error(true, pred)),
        "spearman": spearman_score(true, pred),
        "ccc": concordance_correlation_score(true, pred),
        "qwk": quadratic_weighted_kappa_score(label, pred, scale),
        "accuracy": rounded_accuracy_score(label, pred, scale),
        "macro_mae": macro_mean_absolute_error(label, pred, scale),
        "polarity_accuracy": polarity,
        "within_one": within_one_accuracy_score(label, pred, scale),
        "threshold_accuracy": threshold_accuracy_score(label, pred, scale),
    }
