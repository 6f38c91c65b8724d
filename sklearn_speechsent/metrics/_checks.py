"""Validation shared by the metrics: values, weights, probabilities, trials."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from sklearn_speechsent.metrics.labels import NO_SCORE, as_labels, name_rows, refuse_text
from sklearn_speechsent.metrics.votes import mean_votes

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def check_values(values: ArrayLike, name: str) -> FloatArray:
    """Return finite numbers as a 1-D float64 array; ValueError names what is wrong."""
    array, _ = as_labels(values, name)
    if array.dtype.kind == "U":
        refuse_text(array, name, "Numbers are needed here. ")
    return array.astype(np.float64)


def check_weights(sample_weight: ArrayLike | None, n_samples: int) -> FloatArray:
    """Return one weight per item, all ones for None; ValueError if they cannot be weights."""
    if sample_weight is None:
        return np.ones(n_samples)
    weight = check_values(sample_weight, "sample_weight")
    if len(weight) != n_samples:
        raise ValueError(f"sample_weight has {len(weight)} entries for {n_samples} items.")
    if weight.min() < 0 or weight.max() == 0:
        raise ValueError("sample_weight must be non-negative and not zero everywhere.")
    return weight


def check_pair(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return truth, of votes the mean, prediction and weight of the items whose weight is not 0."""
    true = check_values(mean_votes(y_true, name="y_true"), "y_true")
    pred = check_values(y_pred, "y_pred")
    check_consistent_length(true, pred)
    weight = check_weights(sample_weight, len(true))
    counted = weight > 0
    return true[counted], pred[counted], weight[counted]


def check_proba(proba: ArrayLike, n_levels: int) -> FloatArray:
    """Return probabilities as an array; ValueError unless each row is a distribution."""
    columns = check_array(proba, dtype=np.float64, ensure_all_finite=False)
    bad = ~np.isfinite(columns).all(axis=1)
    if bad.any():
        raise ValueError(
            f"proba contains NaN or infinity: {int(bad.sum())} of {len(bad)} rows, "
            f"in {name_rows(bad)}. {NO_SCORE}"
        )
    if columns.shape[1] != n_levels:
        raise ValueError(f"proba has {columns.shape[1]} columns for {n_levels} levels.")
    if columns.min() < 0 or not np.allclose(columns.sum(axis=1), 1, atol=1e-3):
        raise ValueError("Each row of proba must be non-negative and sum to 1.")
    return columns


def check_trials(y_true: ArrayLike, y_score: ArrayLike) -> tuple[BoolArray, FloatArray]:
    """Return truth and scores of trials; ValueError unless there are finite ones of both kinds."""
    truth = column_or_1d(y_true)
    if truth.dtype == object:
        truth = np.array(truth.tolist())
    if truth.dtype.kind not in "biuf" or np.isnan(truth).any():
        raise ValueError(
            f"y_true must be true or false (1 or 0) for every trial, got {truth.dtype} values such "
            f"as {truth[:3].tolist()}. Leave out trials without a truth; compare names first, "
            "say y_true == 'same'."
        )
    same, scores = truth.astype(bool), column_or_1d(y_score, dtype=np.float64)
    if len(same) != len(scores):
        raise ValueError(
            f"y_true has {len(same)} trials, y_score {len(scores)} scores: pass one score for "
            "each trial."
        )
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ValueError(
            f"y_score contains NaN or infinity: {len(wrong)} score(s), the first in row {wrong[0]} "
            f"({scores[wrong[0]]}). Leave these trials out of y_true and y_score."
        )
    if same.all() or not same.any():
        raise ValueError(
            f"y_true has {same.sum()} same-speaker and {(~same).sum()} different-speaker trials: "
            "error rates need both kinds. make_trials draws both."
        )
    return same, scores


def is_constant(values: FloatArray) -> bool:
    """Whether the values differ by no more than the rounding error of float64 arithmetic."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
