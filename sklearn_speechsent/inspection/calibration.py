"""Calibration of the probabilities of levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS, level_index
from sklearn_speechsent.metrics.probabilistic import ranked_probability_error
from sklearn_speechsent.metrics.scale import scored_labels

#: Bins of equal width, and draws of labels for the perfect forecaster.
_BINS, _DRAWS, _SEED = 10, 100, 0


@dataclass(frozen=True)
class ThresholdCalibration:
    """Calibration over all thresholds of a scale, see :func:`threshold_calibration`.

    Parameters
    ----------
    error : float
        Expected calibration error.
    perfect : float
        Expected calibration error of labels drawn from the probabilities themselves, which is not 0
        for a finite number of recordings.
    ranked_probability_error : float
    reliability : DataFrame
        One row per bin that holds anything: columns ``predicted`` (mean probability), ``observed``
        (share that lies above) and ``n`` (pairs of recording and threshold).
    """

    error: float
    perfect: float
    ranked_probability_error: float
    reliability: pd.DataFrame


def threshold_calibration(
    y_true: ArrayLike, proba: ArrayLike, levels: ArrayLike | range = SENTIMENT_LEVELS
) -> ThresholdCalibration:
    r"""Compare the probability that a level lies above each threshold with how often it does.

    The expected calibration error is

    .. math::
        \frac{1}{K-1} \sum_{k=1}^{K-1} \sum_b \frac{n_{kb}}{n}
        \big| \bar p_{kb} - \bar o_{kb} \big|

    over ten bins :math:`b` of equal width, with the mean probability :math:`\bar p_{kb}` of the
    recordings in the bin, and the share :math:`\bar o_{kb}` of them above threshold :math:`k`.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True intensities, rounded to the levels; or text, if the levels are.
    proba : array-like of shape (n, n_levels)
        Probability of each level, in the order of ``classes_`` (numbers ascend, text is sorted).
    levels : array-like of shape (n_levels,), default=range(-3, 4)
        The fixed set of K levels, from the lowest to the highest.

    Returns
    -------
    ThresholdCalibration

    Raises
    ------
    ValueError
        If lengths differ, a value is missing, or rows of ``proba`` are not distributions over the
        levels.

    See Also
    --------
    ranked_probability_error : Calibration and sharpness in one number.

    Examples
    --------
    >>> from sklearn_speechsent.inspection import threshold_calibration
    >>> found = threshold_calibration([0, 1, 1, 1], [[0.5, 0.5]] * 4, levels=[0, 1])
    >>> found.error, found.reliability.to_dict("records")
    (0.25, [{'predicted': 0.5, 'observed': 0.75, 'n': 4}])
    """
    score = ranked_probability_error(y_true, proba, levels)  # which checks all of it
    true, scale = scored_labels(y_true, levels)
    columns = np.asarray(proba, dtype=np.float64)[:, np.argsort(np.argsort(scale))]
    index = level_index(true, scale)
    above = np.clip(1 - np.cumsum(columns, axis=1)[:, :-1], 0, 1)
    bins = np.minimum((above * _BINS).astype(int), _BINS - 1)
    outcome = index[:, np.newaxis] > np.arange(above.shape[1])
    generator = np.random.default_rng(_SEED)
    drawn = [_error(above, bins, generator.random((len(above), 1)) < above) for _ in range(_DRAWS)]
    table = pd.DataFrame(
        {"predicted": above.ravel(), "observed": outcome.ravel(), "bin": bins.ravel()}
    ).groupby("bin")
    reliability = table.mean().assign(n=table.size()).reset_index(drop=True)
    return ThresholdCalibration(
        _error(above, bins, outcome), float(np.mean(drawn)), score, reliability
    )


def _error(
    above: NDArray[np.float64], bins: NDArray[np.int64], outcome: NDArray[np.bool_]
) -> float:
    """Expected calibration error, mean over thresholds."""
    gap = above - outcome
    sums = [np.bincount(b, weights=g, minlength=_BINS) for b, g in zip(bins.T, gap.T, strict=True)]
    return float(np.abs(sums).sum() / above.size)
