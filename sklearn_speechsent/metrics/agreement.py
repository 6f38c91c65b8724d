"""Correlation and concordance of raw, unrounded intensities.

A constant truth or prediction says nothing about order. Every score here is then 0.0, without a
warning, so that a network that predicts a constant and a fold of one level stay comparable.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from sklearn_speechsent.metrics._checks import check_pair, is_constant


def concordance_correlation_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    r"""Concordance correlation coefficient (CCC) of raw intensities.

    .. math::
        CCC = \frac{2\,\mathrm{cov}(y, \hat y)}
                   {\sigma_y^2 + \sigma_{\hat y}^2 + (\mu_y - \mu_{\hat y})^2}

    with population moments (division by n). It is Pearson's r, lowered for every difference in
    location and scale [1]_.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities; of votes the means.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        CCC in [-1, 1]; 1 is perfect. 0.0 if the truth or the prediction is constant.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, or weights are negative or all zero.

    See Also
    --------
    pearson_score : Without the question of mean and spread.

    References
    ----------
    .. [1] L. I.-K. Lin (1989). "A concordance correlation coefficient to evaluate
       reproducibility". Biometrics 45(1):255-268.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import concordance_correlation_score
    >>> concordance_correlation_score([-1, 0, 1], [0, 1, 2])
    0.571...
    >>> concordance_correlation_score([-1, 0, 1], [0, 0, 0])
    0.0
    """
    true, pred, weight = check_pair(y_true, y_pred, sample_weight)
    if is_constant(true) or is_constant(pred):
        return 0.0
    shift = np.average(true - pred, weights=weight)
    cov = np.cov(true, pred, ddof=0, aweights=weight)
    return float(2 * cov[0, 1] / (cov[0, 0] + cov[1, 1] + shift**2))


def pearson_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    r"""Pearson correlation r of raw intensities.

    .. math::
        r = \frac{\mathrm{cov}(y, \hat y)}{\sigma_y \, \sigma_{\hat y}}

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities; of votes the means.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded.

    Returns
    -------
    float
        Correlation in [-1, 1]. 0.0 if the truth or the prediction is constant.

    Raises
    ------
    ValueError
        If lengths differ or a value is NaN or infinite.

    References
    ----------
    .. [1] K. Pearson (1895). "Notes on regression and inheritance in the case of two
       parents". Proceedings of the Royal Society of London 58:240-242.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import pearson_score
    >>> round(pearson_score([-1, 0, 1, 2], [0, 1, 1, 3]), 3)
    0.923
    """
    true, pred, _ = check_pair(y_true, y_pred)
    if is_constant(true) or is_constant(pred):
        return 0.0
    return float(stats.pearsonr(true, pred).statistic)


def spearman_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    r"""Spearman rank correlation of raw intensities.

    Pearson's r of the ranks, tied values sharing their mean rank [1]_.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities; of votes the means.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded: rounding would tie most of them.

    Returns
    -------
    float
        Correlation in [-1, 1]. 0.0 if the truth or the prediction is constant.

    Raises
    ------
    ValueError
        If lengths differ or a value is NaN or infinite.

    References
    ----------
    .. [1] C. Spearman (1904). "The proof and measurement of association between two
       things". The American Journal of Psychology 15(1):72-101.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import spearman_score
    >>> round(spearman_score([-1, 0, 1, 2], [0, 10, 5, 30]), 3)
    0.8
    """
    true, pred, _ = check_pair(y_true, y_pred)
    if is_constant(true) or is_constant(pred):
        return 0.0
    return float(stats.pearsonr(stats.rankdata(true), stats.rankdata(pred)).statistic)


def kendall_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    r"""Kendall rank correlation tau-b of raw intensities.

    .. math::
        \tau_b = \frac{P - Q}{\sqrt{(P + Q + T)(P + Q + U)}}

    with P concordant and Q discordant pairs, T pairs tied in the truth only and U pairs tied in
    the prediction only [1]_.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), or table of votes of shape (n_samples, n_levels)
        True intensities; of votes the means.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded.

    Returns
    -------
    float
        Correlation in [-1, 1]. 0.0 if the truth or the prediction is constant.

    Raises
    ------
    ValueError
        If lengths differ or a value is NaN or infinite.

    References
    ----------
    .. [1] M. G. Kendall (1945). "The treatment of ties in ranking problems".
       Biometrika 33(3):239-251.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import kendall_score
    >>> round(kendall_score([-1, 0, 1, 2], [0, 10, 5, 30]), 3)
    0.667
    """
    true, pred, _ = check_pair(y_true, y_pred)
    if is_constant(true) or is_constant(pred):
        return 0.0
    return float(stats.kendalltau(true, pred, variant="b").statistic)
