"""Metrics against several annotators, and of annotators against each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from sklearn_speechsent.metrics._checks import check_weights
from sklearn_speechsent.metrics.agreement import spearman_score
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS, ascends, level_index
from sklearn_speechsent.metrics.scale import read_labels, refuse_off, scored_shares
from sklearn_speechsent.metrics.votes import FloatArray, check_votes, read_votes

_DISTANCES = ("ordinal", "interval", "nominal")


def vote_share_score(
    y_true: Any,
    y_pred: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Share of the votes that predicted levels have: the expected accuracy for one annotator.

    .. math::
        \frac{1}{n} \sum_i S_i(\hat y_i)

    with S the share of the annotators who chose a level. No prediction has more than the mean share
    of the most frequent level.

    Parameters
    ----------
    y_true : table of votes of shape (n_samples, n_levels), or array-like of shape (n_samples,)
        See :func:`ranked_probability_error`. With one label for each it is the accuracy.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, rounded and clipped to the levels; or text.
    levels : array-like of shape (n_levels,), default=range(-3, 4)
        The fixed set of levels, from the lowest to the highest.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Share in [0, 1].

    Raises
    ------
    ValueError
        If lengths differ, votes or predictions cannot be used, or weights are negative or all zero.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.metrics import vote_share_score
    >>> votes = pd.DataFrame({-1: [4, 0], 0: [1, 2], 1: [0, 3]})
    >>> round(vote_share_score(votes, [-1, 0]), 3)
    0.6
    """
    shares, scale = scored_shares(y_true, levels)
    pred = read_labels(y_pred, scale, "y_pred")[0]
    check_consistent_length(shares, pred)
    if not ascends(scale):
        refuse_off(pred, scale, "Predictions must be levels.", "y_pred")
    found = np.take_along_axis(shares, level_index(pred, scale)[:, None], axis=1)[:, 0]
    return float(np.average(found, weights=check_weights(sample_weight, len(shares))))


def expected_absolute_error(
    y_true: Any,
    y_pred: ArrayLike,
    levels: ArrayLike | range = SENTIMENT_LEVELS,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Expected MAE for one annotator: the mean distance from all votes.

    .. math::
        \frac{1}{n} \sum_i \sum_{k=1}^{K} S_i(l_k) \, |\hat y_i - l_k|

    with S the share of the annotators who chose a level. The median of the votes has the least
    error, which is not 0 where annotators disagree.

    Parameters
    ----------
    y_true : table of votes of shape (n_samples, n_levels), or array-like of shape (n_samples,)
        See :func:`ranked_probability_error`. With one label for each it is the MAE from its level.
    y_pred : array-like of shape (n_samples,)
        Predicted intensities, not rounded; or text.
    levels : array-like of shape (n_levels,), default=range(-3, 4)
        The fixed set of levels, from the lowest to the highest.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each item.

    Returns
    -------
    float
        Error in the unit of the levels, for text in levels; 0 is perfect.

    Raises
    ------
    ValueError
        If lengths differ, votes or predictions cannot be used, or weights are negative or all zero.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.metrics import expected_absolute_error
    >>> expected_absolute_error(pd.DataFrame({-1: [4, 0], 0: [1, 2], 1: [0, 3]}), [-1, 0.5])
    0.35
    """
    shares, scale = scored_shares(y_true, levels)
    pred = read_labels(y_pred, scale, "y_pred")[0]
    check_consistent_length(shares, pred)
    values = scale.astype(np.float64) if scale.dtype.kind != "U" else np.arange(len(scale))
    if not ascends(scale):
        refuse_off(pred, scale, "Predictions must be levels.", "y_pred")
        pred, values = level_index(pred, scale), np.arange(len(scale))
    error = (shares * np.abs(pred[:, None] - values)).sum(axis=1)
    return float(np.average(error, weights=check_weights(sample_weight, len(shares))))


def krippendorff_alpha_score(
    votes: Any, levels: ArrayLike | range | None = None, *, distance: str = "ordinal"
) -> float:
    r"""Krippendorff's alpha: how far annotators agree beyond chance.

    .. math::
        \alpha = 1 - \frac{D_o}{D_e}

    with the disagreement within recordings, and that between any two votes [1]_. Recordings with
    one vote only say nothing and are left out; numbers of votes may differ.

    Parameters
    ----------
    votes : array-like or DataFrame of shape (n_samples, n_levels)
        Number of annotators who chose each level, see
        :func:`~sklearn_speechsent.datasets.count_votes`. Columns of a DataFrame are named after the
        levels.
    levels : array-like of shape (n_levels,), default=None
        The scale, needed where columns do not say it.
    distance : {"ordinal", "interval", "nominal"}, default="ordinal"
        Of two levels: by the number of votes that lie between them, by their difference (of text by
        that of positions), or 1 for any two.

    Returns
    -------
    float
        1 if all agree, 0 if agreement is that of chance, below 0 for less. NaN if all votes are for
        one level, or no recording has two votes.

    Raises
    ------
    ValueError
        If votes cannot be used or are not whole numbers, or the distance is unknown.

    References
    ----------
    .. [1] K. Krippendorff (2011). "Computing Krippendorff's alpha-reliability". University of
       Pennsylvania.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.metrics import krippendorff_alpha_score
    >>> votes = pd.DataFrame({-1: [3, 2, 0], 0: [0, 1, 1], 1: [0, 0, 2]})
    >>> round(krippendorff_alpha_score(votes), 3)
    0.705
    """
    if distance not in _DISTANCES:
        raise ValueError(f"distance={distance!r} must be one of {_DISTANCES}.")
    shares, scale = read_votes(votes, levels, "votes")
    totals = check_votes(votes, "votes").sum(axis=1)
    counts = shares * totals[:, None]
    if not np.allclose(counts, np.rint(counts), atol=1e-6):
        row = int(np.argmax(np.abs(counts - np.rint(counts)).max(axis=1)))
        raise ValueError(
            f"votes holds shares, such as {counts[row].tolist()} in row {row}, and agreement needs "
            "numbers of annotators."
        )
    counts = np.rint(counts)[totals > 1.5]
    totals = counts.sum(axis=1, keepdims=True)
    pairs = counts.T @ (counts / (totals - 1)) - np.diag((counts / (totals - 1)).sum(axis=0))
    marginal = pairs.sum(axis=0)
    distances = _squared_distances(scale, marginal, distance)
    expected = (np.outer(marginal, marginal) * distances).sum()
    if expected == 0:
        return float("nan")
    return float(1 - (marginal.sum() - 1) * (pairs * distances).sum() / expected)


def _squared_distances(scale: Any, marginal: FloatArray, distance: str) -> FloatArray:
    """Squared distance of any two levels."""
    if distance == "nominal":
        return 1.0 - np.eye(len(scale))
    if distance == "interval":
        places = scale.astype(np.float64) if scale.dtype.kind != "U" else np.arange(len(scale))
    else:  # in the middle of its own votes
        places = np.cumsum(marginal) - marginal / 2
    return (places[:, None] - places) ** 2


def leave_one_out_agreement(
    ratings: Any, score: Callable[..., float] = spearman_score
) -> pd.Series:
    """Agreement of each annotator with the mean of the others.

    It is what a model that predicts the mean can at best be asked for, and it shows annotators who
    hear something else.

    Parameters
    ----------
    ratings : DataFrame or array-like of shape (n_samples, n_annotators)
        Intensity that each annotator heard, NaN for none; see
        :func:`~sklearn_speechsent.datasets.pivot_ratings`.
    score : callable, default=spearman_score
        ``score(y_true, y_pred)``, such as :func:`concordance_correlation_score`; the truth is the
        mean of the others.

    Returns
    -------
    Series
        Score of each annotator over the recordings that another one rated, too; NaN if these are
        fewer than two.

    Raises
    ------
    ValueError
        If there are fewer than two annotators, or ratings are not numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_speechsent.metrics import leave_one_out_agreement
    >>> ratings = pd.DataFrame({"ann": [-1, 0, 2], "ben": [-2, 1, 1], "cem": [2, 0, None]})
    >>> leave_one_out_agreement(ratings).round(2).tolist()
    [1.0, 0.0, -1.0]
    """
    table = pd.DataFrame(ratings)
    if table.shape[1] < 2:
        raise ValueError(f"ratings has {table.shape[1]} column; agreement needs two annotators.")
    try:
        values = table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"ratings must hold one column of numbers per annotator ({error}). Number the levels "
            "(series.cat.codes of an ordered category)."
        ) from error
    found = {}
    for column, annotator in enumerate(table.columns):
        own, others = values[:, column], np.delete(values, column, axis=1)
        both = np.isfinite(own) & np.isfinite(others).any(axis=1)
        enough = both.sum() > 1
        found[annotator] = (
            score(np.nanmean(others[both], axis=1), own[both]) if enough else float("nan")
        )
    return pd.Series(found, dtype=float)
