"""Validation shared by the metrics: pairs of values and their weights."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length, column_or_1d

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def check_values(values: ArrayLike, name: str) -> FloatArray:
    """Return finite numbers as a 1-D float64 array; ValueError names what is wrong."""
    array = check_array(values, ensure_2d=False, dtype=np.float64, input_name=name)
    return column_or_1d(array, dtype=np.float64)


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
    """Return truth, prediction and weight of the items that weigh anything."""
    true, pred = check_values(y_true, "y_true"), check_values(y_pred, "y_pred")
    check_consistent_length(true, pred)
    weight = check_weights(sample_weight, len(true))
    counted = weight > 0
    return true[counted], pred[counted], weight[counted]


def is_constant(values: FloatArray) -> bool:
    """Whether the values differ by no more than the rounding error of float64 arithmetic."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
