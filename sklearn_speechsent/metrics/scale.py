"""Labels on their scale: how users give them, and errors about those that lie off it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, column_or_1d

from sklearn_speechsent.metrics._checks import FloatArray, IntArray, check_weights
from sklearn_speechsent.metrics.labels import NUMBERS, as_labels, refuse_text
from sklearn_speechsent.metrics.levels import (
    SENTIMENT_LEVELS,
    as_order,
    as_scale,
    ascends,
    check_levels,
    level_index,
    off_scale,
)
from sklearn_speechsent.metrics.votes import (
    check_votes,
    is_votes,
    median_index,
    names_levels,
    read_votes,
)


def read_labels(
    y: Any, levels: ArrayLike | range | None = None, name: str = "y", *, warn: bool = False
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Labels as an array, and their scale if it is known.

    Parameters
    ----------
    y : array-like of shape (n,)
        Numbers, text, or an ordered category of pandas.
    levels : array-like of shape (n_levels,), optional
        The scale, see :func:`check_levels`. Numbers may come in any order.
    name : str, default="y"
        In messages.
    warn : bool, default=False
        Whether a column in place of a 1-D array is a warning.

    Returns
    -------
    values : ndarray of shape (n,)
    scale : ndarray of shape (n_levels,) or None
        `levels`; without them the order of a category; None for other numbers.

    Raises
    ------
    ValueError
        If labels are missing, text without an order, or not of the kind of `levels`; the message
        says what to do.

    Examples
    --------
    >>> from sklearn_speechsent.metrics.scale import read_labels
    >>> read_labels(["low", "high"], levels=["low", "high"])[1]
    array(['low', 'high'], dtype='<U4')
    """
    values, order = as_labels(y, name, warn=warn)
    if levels is None:
        if order is None:
            if values.dtype.kind == "U":
                refuse_text(values, name)
            return values, None
        return values, as_order(order)
    scale = as_scale(levels)
    is_text = values.dtype.kind == "U"
    if is_text and scale.dtype.kind != "U":
        refuse_text(values, name, f"With levels={scale.tolist()}, labels must be numbers. ")
    if scale.dtype.kind == "U" and not is_text:
        raise ValueError(
            f"levels={scale.tolist()} are text, and labels are not: {name} holds "
            f"{values[:1].tolist()[0]!r} in row 0.{encoded_hint(values)} Pass levels of the same "
            "kind."
        )
    if order is not None:
        places = pd.Index(scale, dtype=object).get_indexer(pd.Index(order, dtype=object))
        if (np.diff(places[places >= 0]) < 0).any():
            raise ValueError(
                f"The order of the category {order.tolist()} is not that of levels="
                f"{scale.tolist()}. Leave out levels=, or put the categories in order."
            )
    return values, scale


def read_target(
    y: Any, levels: ArrayLike | range | None = None, name: str = "y", *, warn: bool = False
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Labels or shares of votes as an array, and their scale if it is known.

    Parameters
    ----------
    y : array-like of shape (n,), or table of votes of shape (n, n_levels)
    levels : array-like of shape (n_levels,), optional
    name : str, default="y"
    warn : bool, default=False
        See :func:`read_labels`.

    Returns
    -------
    values : ndarray of shape (n,) or (n, n_levels)
        Labels, see :func:`read_labels`, or shares, see
        :func:`~sklearn_speechsent.metrics.votes.read_votes`.
    scale : ndarray of shape (n_levels,) or None
        Always known for votes.

    Raises
    ------
    ValueError
        As these two functions.
    """
    if is_votes(y):
        return read_votes(y, levels, name)
    return read_labels(y, levels, name, warn=warn)


def target_index(y: NDArray[Any], levels: NDArray[Any]) -> IntArray:
    """Position of each row's level in the scale, for votes the median level.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, n_levels)
        As :func:`read_target` returns it, for these levels.
    levels : ndarray of shape (n_levels,)

    Returns
    -------
    ndarray of int64 of shape (n,)
    """
    return median_index(y) if y.ndim == 2 else level_index(y, levels)


def target_labels(y: NDArray[Any], levels: NDArray[Any]) -> NDArray[Any]:
    """Label of each row, for votes the median level.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, n_levels)
        As :func:`read_target` returns it, for these levels.
    levels : ndarray of shape (n_levels,)

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> target_labels(np.array([[0.6, 0.4], [0.2, 0.8]]), np.array([-1, 1]))
    array([-1,  1])
    """
    return levels[median_index(y)] if y.ndim == 2 else y


def target_shares(y: NDArray[Any], levels: NDArray[Any]) -> FloatArray:
    """Share of each level in each row, 1 for the level of a label.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, n_levels)
        As :func:`read_target` returns it, for these levels.
    levels : ndarray of shape (n_levels,)

    Returns
    -------
    ndarray of shape (n, n_levels)

    Examples
    --------
    >>> import numpy as np
    >>> target_shares(np.array([1, -1]), np.array([-1, 1]))
    array([[0., 1.],
           [1., 0.]])
    """
    return y if y.ndim == 2 else np.eye(len(levels))[level_index(y, levels)]


def check_labels(y: Any, n: int) -> None:
    """Check labels before long work starts: length, missing values, number of levels.

    Parameters
    ----------
    y : array-like of shape (n,), or table of votes
    n : int
        Number of recordings.

    Raises
    ------
    ValueError
        If the length differs, a label is missing or infinite (the message names the row), votes
        cannot be used, or all labels are equal.
    """
    check_consistent_length(y, np.empty(n))
    if is_votes(y):
        if np.count_nonzero(check_votes(y).any(axis=0)) == 1:
            raise ValueError("All votes of y are for one level: there is nothing to learn from it.")
        return
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] != 1:
        raise ValueError(f"y must hold one label per recording, got shape {y.shape}.")
    labels = pd.Series(column_or_1d(y))
    missing = labels.isna()
    if labels.dtype.kind == "f":
        missing |= np.isinf(labels)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(
            f"Input y contains NaN or infinity: {int(missing.sum())} label(s), the first in row "
            f"{row} ({labels[row]}). Leave these rows out of X and y."
        )
    if n > 1 and labels.nunique() == 1:
        raise ValueError(
            f"All {n} labels are {labels[0]}: there is only one class, and nothing to learn from "
            "one level."
        )


def encoded_hint(y: NDArray[Any]) -> str:
    """Say where labels 0 … K - 1 may come from, if that is what labels are.

    Parameters
    ----------
    y : ndarray of shape (n,)

    Returns
    -------
    str
        Empty for other labels.
    """
    found = np.unique(y) if y.dtype.kind in NUMBERS else np.array([])
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        return ""
    return (
        f" Labels 0 … {len(found) - 1} may be numbers of classes that scikit-learn puts in the "
        'place of labels: cross_val_predict(method="predict_proba"), VotingClassifier, '
        "StackingClassifier and BaggingClassifier do. Number the levels 0 … K - 1 yourself and "
        'pass levels=range(K), or call cross_val_predict(method="predict").'
    )


def refuse_off(y: NDArray[Any], levels: NDArray[Any], remedy: str, name: str = "y") -> None:
    """Raise for labels off the scale.

    Parameters
    ----------
    y : ndarray of shape (n,)
    levels : ndarray of shape (n_levels,)
    remedy : str
        End of the message.
    name : str, default="y"
        In the message.

    Raises
    ------
    ValueError
        If there are any; the message names the first.
    """
    off = off_scale(y, levels)
    if off.any():
        row = int(off.argmax())
        label = y[row : row + 1].tolist()[0]
        where = f"row {row}" if name == "y" else f"row {row} of {name}"
        others = f", like {int(off.sum()) - 1} more" if off.sum() > 1 else ""
        raise ValueError(
            f"Label {label!r} in {where} lies off the scale {levels.tolist()}{others}."
            f"{encoded_hint(y)} {remedy}"
        )


def level_pair(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    levels: ArrayLike | range,
    sample_weight: ArrayLike | None = None,
    truth: ArrayLike | range | None = None,
) -> tuple[IntArray, IntArray, FloatArray, NDArray[Any]]:
    """Positions of truth and prediction in a scale, of the items whose weight is not 0.

    Parameters
    ----------
    y_true : array-like of shape (n,), or table of votes
        Labels. An ordered category and named columns of votes bring their scale along, in place of
        the default levels. Votes count as their median level.
    y_pred : array-like of shape (n,)
        Predictions of the same kind. Numbers beyond the ends belong to the first and last level.
    levels : array-like of shape (n_levels,)
    sample_weight : array-like of shape (n,), optional
    truth : array-like of shape (n_true_levels,), optional
        Scale of the truth, where it is scored on fewer levels; `levels` by default.

    Returns
    -------
    true, pred : ndarray of int64 of shape (n_counted,)
    weight : ndarray of shape (n_counted,)
    scale : ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If lengths differ, a value is missing, or a label lies off the scale.
    """
    true, scale = scored_labels(y_true, levels, truth)
    pred = read_labels(y_pred, scale, "y_pred")[0]
    check_consistent_length(true, pred)
    if not ascends(scale):
        refuse_off(pred, scale, "Predictions must be levels.", "y_pred")
    weight = check_weights(sample_weight, len(true))
    counted = weight > 0
    true, pred, weight = true[counted], pred[counted], weight[counted]
    return level_index(true, scale), level_index(pred, scale), weight, scale


def scored_labels(
    y_true: ArrayLike, levels: ArrayLike | range, truth: ArrayLike | range | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """True labels and the scale that they are scored on, see :func:`level_pair`.

    Parameters
    ----------
    y_true : array-like of shape (n,), or table of votes
    levels : array-like of shape (n_levels,)
    truth : array-like of shape (n_true_levels,), optional

    Returns
    -------
    true : ndarray of shape (n,)
        Of votes the median levels.
    scale : ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If a label is missing or lies off the scale, or votes cannot be used.
    """
    own = levels is SENTIMENT_LEVELS and _brings_scale(y_true)
    if not own:
        check_levels(levels)  # in ascending order, which an estimator does not ask for
    if is_votes(y_true):
        of_truth = levels if truth is None else truth
        shares, order = read_votes(y_true, None if own else of_truth, "y_true")
        return order[median_index(shares)], order if own else check_levels(levels)
    true, scale = read_labels(y_true, None if own else levels, "y_true")
    assert scale is not None
    remedy = "Pass levels= of these labels, from the lowest to the highest."
    refuse_off(true, scale if truth is None else check_levels(truth), remedy, "y_true")
    return true, scale


def scored_shares(y_true: Any, levels: ArrayLike | range) -> tuple[FloatArray, NDArray[Any]]:
    """True shares of levels and the scale that they are scored on.

    Parameters
    ----------
    y_true : array-like of shape (n,), or table of votes
        Labels count as shares of 1. An ordered category and named columns of votes bring their
        scale along, in place of the default levels.
    levels : array-like of shape (n_levels,)

    Returns
    -------
    shares : ndarray of shape (n, n_levels)
    scale : ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If a label is missing or lies off the scale, or votes cannot be used.
    """
    if not is_votes(y_true):
        true, scale = scored_labels(y_true, levels)
        return target_shares(true, scale), scale
    own = levels is SENTIMENT_LEVELS and _brings_scale(y_true)
    return read_votes(y_true, None if own else check_levels(levels), "y_true")


def _brings_scale(y: Any) -> bool:
    """Whether labels are an ordered category, or votes with a scale of their own."""
    category = isinstance(getattr(y, "dtype", None), pd.CategoricalDtype)
    return (category and y.dtype.ordered) or (is_votes(y) and names_levels(y))


def round_to_levels(
    y: ArrayLike, levels: ArrayLike | range = SENTIMENT_LEVELS
) -> IntArray | FloatArray:
    """Round continuous values to levels and clip them to the lowest and highest level.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Intensities in the scale of the levels, finite.
    levels : array-like of numbers of shape (n_levels,), default=range(-3, 4)
        The fixed set of levels in ascending order. Consecutive integers round half to even as
        :func:`numpy.rint` does (0.5 becomes 0, 1.5 becomes 2). Any other scale, say one without
        a neutral level, takes the nearest level, the lower of two equally near.

    Returns
    -------
    ndarray of shape (n_samples,)
        The level of each value: int64 if all levels are whole numbers, otherwise float64.

    Raises
    ------
    ValueError
        If `y` holds NaN or infinity or is not one-dimensional, or if `levels` are not
        two or more numbers in ascending order.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import round_to_levels
    >>> round_to_levels([-3.7, -0.5, 0.5, 1.5, 2.49, 9])
    array([-3,  0,  0,  2,  2,  3])
    >>> round_to_levels([-0.2, 0.3, 1.8], levels=[-2, -1, 1, 2])
    array([-1,  1,  2])
    >>> round_to_levels([-0.7, 0.4, 1.2], levels=[-1.5, 0, 2])
    array([0., 0., 2.])
    """
    steps = check_levels(levels)
    return steps[level_index(read_labels(y, steps)[0], steps)]
