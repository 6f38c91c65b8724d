"""Accuracy and F1 of exact levels: both readings of Acc-7, Acc-5 and F1-7.

Truth and prediction are both rounded to the levels; the other reading of Acc-7 has bins. On
-2 … 2 the truth may be on -3 … 3 and is clipped as well, which is how Acc-5 of a seven-level corpus
is defined.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, f1_score

from sklearn_speechsent.metrics._checks import check_pair
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS, level_index, off_scale
from sklearn_speechsent.metrics.scale import level_pair, read_labels, refuse_off
from sklearn_speechsent.metrics.votes import median_votes


def _truth(levels: ArrayLike | range) -> range | None:
    """Scale of the truth where it is not `levels`: that of Acc-5."""
    return SENTIMENT_LEVELS if np.array_equal(levels, range(-2, 3)) else None


def rounded_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Fraction of items whose predicted level is the true one: Acc-7, Acc-5.

    .. math::
        \frac{1}{n} \sum_i \mathbb 1[\mathrm{round}(\mathrm{clip}(y_i)) =
        \mathrm{round}(\mathrm{clip}(\hat y_i))]

    The default levels give the Acc-7 of most of the sentiment literature, ``levels=range(-2, 3)``
    its Acc-5 [1]_. The other reading of Acc-7 is :func:`binned_accuracy_score`.

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
    .. [1] A. Zadeh et al. (2018). "Multimodal language analysis in the wild: CMU-MOSEI dataset
       and interpretable dynamic fusion graph". Proc. ACL, 2236-2246.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import rounded_accuracy_score
    >>> rounded_accuracy_score([-3, 0, 1.3, 3], [-2.2, 0.4, 0.9, 5])
    0.75
    >>> rounded_accuracy_score([-3, 0, 1.3, 3], [-2.2, 0.4, 0.9, 5], levels=range(-2, 3))
    1.0
    """
    true, pred, weight, _ = level_pair(y_true, y_pred, levels, sample_weight, _truth(levels))
    return float(accuracy_score(true, pred, sample_weight=weight))


def binned_accuracy_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    r"""Acc-7 in the bins of the CMU-MultimodalSDK: fraction of items whose bin is the true one.

    The bins are :math:`[-3, -2), [-2, -1), [-1, 0), \{0\}, (0, 1], (1, 2], (2, 3]`: whole levels
    are bins of their own only where they are 0.

    .. math::
        b(y) = \mathrm{sign}(y) \, \lceil \min(|y|, 3) \rceil

    It is another number than the Acc-7 of rounded values, see :func:`rounded_accuracy_score`: on
    the test fold of CMU-MOSEI, the best constant reaches 32.4 % here (anything above 0, up to 1)
    and 41.4 % there (0). A prediction is neutral only if it is exactly 0.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True intensities on -3 ... 3, not rounded.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded; those beyond the ends belong to the outermost bins.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Accuracy in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN, infinite or text, a true one lies off -3 ... 3, or
        weights are negative or all zero.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import binned_accuracy_score, rounded_accuracy_score
    >>> y_true, y_pred = [-0.3, 0.0, 0.4, 1.2], [-0.9, 0.2, 0.1, 0.9]
    >>> binned_accuracy_score(y_true, y_pred), rounded_accuracy_score(y_true, y_pred)
    (0.5, 0.75)
    """
    true, pred, weight = check_pair(y_true, y_pred, sample_weight)
    refuse_off(true, np.asarray(SENTIMENT_LEVELS), "Acc-7 is of labels on -3 ... 3.", "y_true")
    bins = (np.sign(y) * np.ceil(np.minimum(np.abs(y), 3)) for y in (true, pred))
    return float(np.average(np.equal(*bins), weights=weight))


def rounded_f1_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    average: Literal["weighted", "macro", "micro"] = "weighted",
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""F1 over levels: F1-7, averaged by a method that has to be named with the number.

    .. math::
        F_1(l) = \frac{2\,TP_l}{2\,TP_l + FP_l + FN_l}

    A level that occurs neither in the truth nor in the prediction takes no part in the average.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities, rounded to the levels; or text, if the levels are; of votes the medians.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, rounded and clipped to the levels; or text.
    levels : array-like of shape (n_levels,), default=range(-3, 4)
        The fixed set of levels, from the lowest to the highest.
    average : {"weighted", "macro", "micro"}, default="weighted"
        Mean over levels weighted by their true frequency, plain mean, or F1 of the pooled
        counts, which equals :func:`rounded_accuracy_score`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        F1 in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, weights are negative or all zero,
        `levels` are not two or more numbers in ascending order, or `average` is none of the three.

    References
    ----------
    .. [1] C. J. van Rijsbergen (1979). "Information Retrieval", 2nd ed., Butterworths.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import rounded_f1_score
    >>> rounded_f1_score([-1, 0, 0, 1], [-1, 0, 0, 0], average="macro")
    0.6...
    >>> rounded_f1_score([-1, 0, 0, 1], [-1, 0, 0, 0], average="micro")
    0.75
    """
    if average not in ("weighted", "macro", "micro"):
        raise ValueError(f"average must be 'weighted', 'macro' or 'micro', got {average!r}.")
    true, pred, weight, _ = level_pair(y_true, y_pred, levels, sample_weight, _truth(levels))
    return float(
        f1_score(
            true,
            pred,
            average=average,
            sample_weight=weight,
            zero_division=0,
        )
    )


def level_accuracy(
    y: ArrayLike,
    predicted: NDArray[Any],
    levels: NDArray[Any],
    sample_weight: ArrayLike | None,
    *,
    given: bool,
) -> float:
    """Share of labels whose nearest level is the predicted one.

    Parameters
    ----------
    y : array-like of shape (n,), or table of votes
        Labels, or votes, whose median level is the label; those without a level among ``levels``
        count as wrong, whatever is predicted.
    predicted : ndarray of shape (n,)
        Values of ``levels``.
    levels : ndarray of shape (n_levels,)
        Levels that were learned, in ordinal order.
    sample_weight : array-like of shape (n,) or None
    given : bool
        Whether the levels are the whole scale. Otherwise they are the whole numbers that occurred
        in training, and a label that is nearer to another whole number has no level.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a prediction is NaN or a label is missing; the message names the rows.
    """
    is_text = levels.dtype.kind == "U"
    true, _ = read_labels(median_votes(y, levels), levels if is_text else None)
    found, _ = read_labels(predicted, levels if is_text else None, "y_pred")
    index = level_index(true, levels)
    unknown = off_scale(true, levels)
    if not given and not is_text:
        unknown |= np.abs(true.astype(np.float64) - levels[index].astype(np.float64)) > 0.5
    index[unknown] = -1
    return float(accuracy_score(index, level_index(found, levels), sample_weight=sample_weight))
