"""Predictions for recordings by models that were fitted without their speakers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_consistent_length, indexable
from tqdm.auto import tqdm

from sklearn_speechsent.inference.scoring import fitted_levels
from sklearn_speechsent.inspection.thresholds import expected_level, level_of
from sklearn_speechsent.metrics.labels import NUMBERS, name_rows
from sklearn_speechsent.metrics.levels import level_index, observed_levels
from sklearn_speechsent.metrics.scale import read_target, target_labels, target_shares
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold
from sklearn_speechsent.sentiment.labels import check_scale
from sklearn_speechsent.utils.estimators import addressed_groups, final_step
from sklearn_speechsent.utils.sklearn_compat import safe_indexing

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
#: Folds by default.
_FOLDS = 5


@dataclass(frozen=True)
class OutOfFold:
    """What models say about recordings of speakers that they were not fitted on.

    Parameters
    ----------
    values : ndarray of shape (n, n_levels) or (n, 1)
        Probabilities of the levels in ordinal order, or intensities; NaN for rows in no test part.
    fold : ndarray of int of shape (n,)
        Whose test part a row is in; -1 for none.
    folds : list of (train, test)
    models : list of estimators
        One per fold.
    final : estimator or None
        Fitted on all rows; of a single fold its model.
    """

    values: NDArray[np.floating]
    fold: NDArray[np.intp]
    folds: list[Fold]
    models: list[Any]
    final: Any


def cross_val_ordinal(
    pipeline: Any,
    X: Any,
    y: Any,
    *,
    groups: ArrayLike,
    cv: Any = None,
    levels: ArrayLike | range | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Predict each recording by a model that was fitted without its speaker.

    Clones are fitted on ``y`` as it is. A level that is absent from a training part costs a warning
    and not an error, unlike ``cross_val_predict(method="predict_proba")``, which numbers the labels
    before it fits. With ``memory=`` of the steps of a Pipeline, what is frozen is computed once per
    recording.

    Parameters
    ----------
    pipeline : estimator
        Classifier of levels with ``predict_proba``, or anything with ``predict`` that gives
        numbers. It is cloned. ``groups`` are passed to ``fit`` of its last step, if that takes any.
    X : array-like of paths, DataFrame, sequence of arrays or of ``(rate, array)``
        Recordings, or whatever else ``pipeline`` takes.
    y : array-like of shape (n,), or table of votes of shape (n, n_levels)
        Labels: numbers, an ordered category, or text of which ``levels`` gives the order. Votes
        are what ``pipeline`` is fitted on.
    groups : array-like of shape (n,)
        Speakers.
    cv : int, splitter or iterable of (train, test), optional
        Folds over speakers. A number, 5 by default, is that of a
        :class:`~sklearn_speechsent.model_selection.StratifiedSpeakerKFold`, fewer where there are
        fewer speakers.
    levels : array-like of shape (n_levels,), optional
        The scale. By default that of the last step of ``pipeline``, the order of a category, the
        columns of votes, or the whole numbers that occur in ``y``.
    n_jobs : int, optional
        Folds that are computed at the same time.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    DataFrame of n rows
        With the index of ``X``, if that has one, and columns

        - ``level``: the number of thresholds that are likely exceeded, as everywhere in this
          package; of a model without probabilities the level nearest to its prediction.
        - ``expected``: the expected level (for text the mean position, from 0), or the prediction.
        - ``p(l)`` for each level ``l`` in ordinal order; 0 where the model has not met the level in
          training. There are none of a model without probabilities.
        - ``truth``: ``y``, of votes the median level; ``speaker``: ``groups``; ``fold``: whose
          test part a row is in, from 0.

        All but the last three are NaN for recordings that get no prediction.

    Raises
    ------
    ValueError
        If lengths differ, a label or speaker is missing, a fold has a speaker on both sides, or
        rows are in no test part or in several.
    RecordingError
        If a recording cannot be used and ``on_error`` of ``pipeline`` is "raise".

    Warns
    -----
    UserWarning
        If a level is absent from the training part of a fold.

    See Also
    --------
    OrdinalCalibrator : Probabilities that are right as often as they say.
    ConformalOrdinal : Sets of levels that hold the true one as often as is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import OrdinalClassifier
    >>> from sklearn_speechsent.inspection import cross_val_ordinal
    >>> y = np.tile([-1, 0, 1], 8)
    >>> X, speakers = y[:, None] + np.linspace(0, 0.5, 24)[:, None], np.repeat([1, 2, 3, 4], 6)
    >>> frame = cross_val_ordinal(OrdinalClassifier(), X, y, groups=speakers, cv=2)
    >>> frame.columns.tolist()
    ['level', 'expected', 'p(-1)', 'p(0)', 'p(1)', 'truth', 'speaker', 'fold']
    >>> (frame["level"] == frame["truth"]).mean() > 0.9
    np.True_
    """
    return cross_validated(
        pipeline, X, y, groups=groups, cv=cv, levels=levels, n_jobs=n_jobs, verbose=verbose
    )[0]


def cross_validated(
    pipeline: Any,
    X: Any,
    y: Any,
    *,
    groups: ArrayLike,
    cv: Any = None,
    levels: ArrayLike | range | None = None,
    keep: bool = False,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> tuple[pd.DataFrame, NDArray[Any], OutOfFold]:
    """Frame of :func:`cross_val_ordinal`, and what it was made of.

    Parameters
    ----------
    pipeline, X, y, groups, cv, levels, n_jobs, verbose : see :func:`cross_val_ordinal`
    keep : bool, default=False
        Whether to return the models of the folds.

    Returns
    -------
    frame : DataFrame of n rows
    scale : ndarray of shape (n_levels,)
    found : OutOfFold
    """
    (X,) = indexable(X)
    target, scale = ordinal_target(pipeline, y, levels)
    labels = target_labels(target, scale)
    speakers = check_speakers(labels, groups)
    folds = speaker_folds(pipeline, cv, X, labels, speakers, scale)
    left = np.ones(len(labels), dtype=bool)
    left[np.concatenate([test for _, test in folds])] = False
    if left.any():
        raise ValueError(
            f"{int(left.sum())} of {len(left)} rows are in no test part ({name_rows(left)}). Pass "
            "a cv that tests every speaker once."
        )
    found = out_of_fold(
        pipeline, X, y, speakers, folds, scale, keep=keep, n_jobs=n_jobs, verbose=verbose
    )
    if found.values.shape[1] > 1:
        columns = {
            "level": level_of(found.values, scale),
            "expected": expected_level(found.values, scale),
            **{f"p({level})": found.values[:, k] for k, level in enumerate(scale.tolist())},
        }
    else:
        (expected,) = found.values.T
        nearest = np.full(len(labels), np.nan)
        known = ~np.isnan(expected)
        nearest[known] = scale[level_index(expected[known], scale)]
        columns = {"level": nearest, "expected": expected}
    columns |= {"truth": labels, "speaker": speakers, "fold": found.fold}
    index = X.index if isinstance(X, pd.DataFrame | pd.Series) else None
    return pd.DataFrame(columns, index=index), scale, found


def known_levels(estimator: Any) -> Any:
    """Scale that an estimator was told or, frozen, has learned; None if there is none.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    array-like of shape (n_levels,) or None

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_speechsent import OrdinalClassifier
    >>> known_levels(GridSearchCV(OrdinalClassifier(levels=[-1, 0, 1]), {}))
    [-1, 0, 1]
    """
    last = final_step(estimator)[1]
    if isinstance(last, FrozenEstimator) and hasattr(last, "classes_"):
        ordered = hasattr(final_step(last.estimator)[1], "levels_")
        if ordered or np.asarray(last.classes_).dtype.kind in NUMBERS:
            return fitted_levels(last.estimator)
    parameters = last.get_params(deep=False) if hasattr(last, "get_params") else {}
    if parameters.get("levels") is not None:
        return parameters["levels"]
    inner = parameters.get("estimator")
    return None if inner is None else known_levels(inner)


def ordinal_target(
    estimator: Any, y: Any, levels: ArrayLike | range | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labels or shares of votes, and the scale in ordinal order.

    Parameters
    ----------
    estimator : estimator
    y : array-like of shape (n,), or table of votes of shape (n, n_levels)
    levels : array-like, optional
        By default those that ``estimator`` was told.

    Returns
    -------
    target : ndarray of shape (n,) or (n, n_levels)
    scale : ndarray of shape (n_levels,)
        If nobody told it, the levels that occur, or the columns of votes.

    Raises
    ------
    ValueError
        If labels are missing, off the scale, or text without an order, or votes cannot be used.
    """
    target, scale = read_target(y, known_levels(estimator) if levels is None else levels, warn=True)
    check_scale(target, scale)
    return target, observed_levels(target) if scale is None else scale


def check_speakers(labels: NDArray[Any], groups: Any) -> NDArray[Any]:
    """Speakers as an array; without any, each row counts as one, with a warning.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    groups : array-like of shape (n,) or None

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        If there are not as many as labels, or one is missing; the message names rows.
    """
    if groups is None:
        warnings.warn(
            "Without groups each row counts as a speaker of its own. Recordings of one speaker on "
            "both sides of a split make a model look better than it is: pass groups=speakers.",
            UserWarning,
            stacklevel=4,
        )
        return np.arange(len(labels))
    check_consistent_length(labels, groups)
    speakers = np.asarray(groups)
    missing = pd.isna(speakers)
    if speakers.ndim != 1 or missing.any():
        where = f": {name_rows(missing)} have none" if speakers.ndim == 1 else ""
        raise ValueError(f"groups must hold one speaker for each row{where}.")
    return speakers


def speaker_folds(
    estimator: Any,
    cv: Any,
    X: Any,
    labels: NDArray[Any],
    speakers: NDArray[Any],
    scale: NDArray[Any],
) -> list[Fold]:
    """Folds without speakers on both sides; everything in one for a frozen estimator.

    Parameters
    ----------
    estimator : estimator
    cv : int, splitter, iterable of (train, test) or None
    X : see :func:`cross_val_ordinal`
    labels, speakers : ndarray of shape (n,)
    scale : ndarray of shape (n_levels,)

    Returns
    -------
    list of (train, test)

    Raises
    ------
    ValueError
        If there are not two speakers, or ``cv`` has a speaker on both sides or a row in two test
        parts.
    """
    check_consistent_length(X, labels)
    everything = np.arange(len(labels))
    if isinstance(estimator, FrozenEstimator):
        return [(everything, everything)]
    if cv is None or isinstance(cv, Integral):
        wanted, n_speakers = _FOLDS if cv is None else int(cv), len(pd.unique(speakers))
        n_folds = min(wanted, n_speakers, np.bincount(level_index(labels, scale)).max())
        if n_folds < 2:
            raise ValueError(
                f"n_samples={len(labels)} of {n_speakers} speaker(s) cannot be divided into folds "
                "of speakers. Add speakers, and pass cv of 2 or more."
            )
        cv = StratifiedSpeakerKFold(n_folds, levels=scale if len(scale) > 1 else None)
    with warnings.catch_warnings():  # out_of_fold says it for every cv
        warnings.filterwarnings("ignore", ".* absent from the training part", UserWarning)
        found = list(cv.split(X, labels, speakers) if hasattr(cv, "split") else cv)
    folds = [(everything[train], everything[test]) for train, test in found]
    for number, (train, test) in enumerate(folds):
        both = set(speakers[train].tolist()) & set(speakers[test].tolist())
        if both:
            raise ValueError(
                f"Fold {number} has speaker {min(map(str, both))!r} on both sides, like "
                f"{len(both) - 1} more. Use a cv over speakers, such as StratifiedSpeakerKFold."
            )
    tested = np.bincount(np.concatenate([test for _, test in folds]), minlength=len(labels))
    if (tested > 1).any():
        raise ValueError(
            f"{int((tested > 1).sum())} rows are in several test parts ({name_rows(tested > 1)}). "
            "Pass a cv that tests no speaker twice."
        )
    return folds


def predicted_values(model: Any, X: Any, scale: NDArray[Any]) -> NDArray[np.floating]:
    """Probabilities of the levels in ordinal order; of a model without any, its predictions.

    Parameters
    ----------
    model : estimator
        Fitted.
    X : see :func:`cross_val_ordinal`
    scale : ndarray of shape (n_levels,)

    Returns
    -------
    ndarray of shape (n, n_levels) or (n, 1)

    Raises
    ------
    ValueError
        If the model has learned a level that is not on the scale, or predicts text.
    """
    if not hasattr(model, "predict_proba"):
        found = np.asarray(model.predict(X))
        if found.dtype.kind not in NUMBERS + "O":
            raise ValueError(
                f"{type(final_step(model)[1]).__name__} predicts text and has no predict_proba. "
                "Use a classifier with probabilities, or number the levels."
            )
        return found.astype(np.float64)[:, np.newaxis]
    places = pd.Index(scale).get_indexer(pd.Index(model.classes_))
    if (places < 0).any():
        raise ValueError(
            f"A model has learned the levels {np.asarray(model.classes_).tolist()}, and not all of "
            f"them are on the scale {scale.tolist()}. Pass the same levels= to both."
        )
    proba = np.asarray(model.predict_proba(X), dtype=np.float64)
    placed = np.zeros((len(proba), len(scale)))
    placed[:, places] = proba
    placed[np.isnan(proba).any(axis=1)] = np.nan
    return placed


def out_of_fold(
    estimator: Any,
    X: Any,
    y: Any,
    speakers: NDArray[Any],
    folds: Sequence[Fold],
    scale: NDArray[Any],
    *,
    refit: bool = False,
    keep: bool = False,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> OutOfFold:
    """Fit clones on the training parts and predict the test parts.

    Parameters
    ----------
    estimator : estimator
    X, y : see :func:`cross_val_ordinal`
    speakers : ndarray of shape (n,)
    folds : sequence of (train, test)
        As :func:`speaker_folds` gives them.
    scale : ndarray of shape (n_levels,)
    refit : bool, default=False
        Whether to fit a final model: on all rows, or that of a single fold.
    keep : bool, default=False
        Whether to return the models of the folds.
    n_jobs : int, optional
    verbose : int, default=0

    Returns
    -------
    OutOfFold

    Warns
    -----
    UserWarning
        If a level is absent from the training part of a fold.
    """
    everything = np.arange(len(speakers))
    tasks = list(folds)
    if refit and len(folds) > 1:
        tasks.append((everything, everything[:0]))
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    jobs = (
        joblib.delayed(_fit_fold)(estimator, X, y, speakers, *task, scale, keep or refit)
        for task in tasks
    )
    results = list(tqdm(parallel(jobs), "folds", len(tasks), unit="fit", disable=not verbose))
    if results[0][0].shape[1] > 1:
        _warn_absent(target_shares(read_target(y, scale)[0], scale), folds, scale)
    fold = np.full(len(speakers), -1, dtype=np.intp)
    values = np.full((len(speakers), results[0][0].shape[1]), np.nan)
    for number, (_, test) in enumerate(folds):
        fold[test], values[test] = number, results[number][0]
    models = [model for _, model in results]
    final = models[-1] if refit else None
    return OutOfFold(values, fold, list(folds), models[: len(folds)] if keep else [], final)


def _fit_fold(
    estimator: Any,
    X: Any,
    y: Any,
    speakers: NDArray[Any],
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    scale: NDArray[Any],
    keep: bool,
) -> tuple[NDArray[np.floating], Any]:
    """Values of the test part, and the model if it is wanted."""
    model = clone(estimator)
    given = addressed_groups(model, speakers[train])
    model.fit(safe_indexing(X, train), safe_indexing(y, train), **given)
    values = predicted_values(model, safe_indexing(X, test), scale) if len(test) else np.empty(0)
    return values, model if keep else None


def _warn_absent(shares: NDArray[np.floating], folds: Sequence[Fold], scale: NDArray[Any]) -> None:
    """Warn of levels that occur, and not in the training part of a fold."""
    for number, (train, _) in enumerate(folds):
        absent = shares.any(axis=0) & ~shares[train].any(axis=0)
        if absent.any():
            warnings.warn(
                f"Level {', '.join(map(str, scale[absent].tolist()))} is absent from the training "
                f"part of fold {number}, whose probability of it is 0.",
                UserWarning,
                stacklevel=3,
            )
