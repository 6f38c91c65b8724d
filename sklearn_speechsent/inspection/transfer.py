"""Scores by number of training speakers, and from one corpus to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length

from sklearn_speechsent.inspection.groups import group_report
from sklearn_speechsent.metrics.levels import level_index
from sklearn_speechsent.metrics.scale import read_labels
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold
from sklearn_speechsent.utils.sklearn_compat import safe_indexing
from sklearn_speechsent.utils.validation import new_generator

#: Shares of the training speakers, by default.
_SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
_MEASURES = ("mae", "macro_mae", "qwk")


def learning_curve(
    pipeline: Any,
    X: Any,
    y: ArrayLike,
    *,
    groups: ArrayLike,
    n_speakers: Sequence[int] | None = None,
    cv: Any = 5,
    levels: ArrayLike | range | None = None,
    measures: Sequence[str] = _MEASURES,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Score a pipeline that learns from few, more and all speakers, always on the same others.

    In each fold the training speakers are put in a random order, and the first of them train: more
    speakers are those of before and others. The held-out speakers stay the same. More recordings
    of the same speakers are another curve,
    :func:`sklearn.model_selection.learning_curve` without groups.

    Parameters
    ----------
    pipeline : estimator
        Not changed; give it ``memory=``, so that features are extracted once.
    X : array-like of shape (n,)
        Recordings.
    y : array-like of shape (n,)
        Labels.
    groups : array-like of shape (n,)
        Speakers.
    n_speakers : sequence of int, optional
        Numbers of training speakers; by default an eighth, a quarter, a half, three quarters and
        all of those of the smallest training fold.
    cv : int or splitter, default=5
        Folds by speaker; a number is that of a
        :class:`~sklearn_speechsent.model_selection.StratifiedSpeakerKFold`.
    levels : array-like of shape (n_levels,), optional
        The scale, see :func:`group_report`.
    measures : sequence of str, default=("mae", "macro_mae", "qwk")
        See :func:`group_report`.
    random_state : int, RandomState instance or None, default=None
        Seed of the order of speakers.

    Returns
    -------
    DataFrame
        One row per number, with the columns ``n_speakers, n_recordings`` (mean over folds) and for
        each measure, of the pooled predictions, ``mae, mae_low, mae_high`` (95 %, by bootstrap
        over the held-out speakers) and ``mae_constant`` (the median of the same training labels).

    Raises
    ------
    ValueError
        If lengths differ, a number of speakers is not there in every fold, or speakers are on both
        sides of a split.

    See Also
    --------
    SpeakerCurveDisplay : Draws it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn_speechsent.inspection import learning_curve
    >>> rng = np.random.default_rng(0)
    >>> y, speakers = np.tile([-1, 0, 1], 40), np.repeat(range(12), 10)
    >>> X = y[:, None] + rng.normal(size=(120, 8)) + rng.normal(size=(12, 8))[speakers]
    >>> curve = learning_curve(Ridge(), X, y, groups=speakers, cv=3, random_state=0)
    >>> curve["n_speakers"].tolist(), curve["n_recordings"].tolist()
    ([1, 2, 4, 6, 8], [10.0, 20.0, 40.0, 60.0, 80.0])
    >>> bool(curve["mae"].iloc[-1] < curve["mae"].iloc[0])
    True
    """
    check_consistent_length(y, groups)
    groups = np.asarray(groups)
    folds = _folds(cv, X, y, groups, levels)
    generator = new_generator(random_state)
    orders = [generator.permutation(np.unique(groups[train])) for train, _ in folds]
    most = min(map(len, orders))
    if n_speakers is None:
        n_speakers = sorted({max(1, round(share * most)) for share in _SHARES})
    if not len(n_speakers) or min(n_speakers) < 1 or max(n_speakers) > most:
        raise ValueError(
            f"n_speakers must be numbers from 1 to {most}, the speakers of the smallest training "
            f"fold; got {list(n_speakers)}."
        )
    rows = []
    for number in n_speakers:
        chosen = [
            (train[np.isin(groups[train], order[:number])], test)
            for (train, test), order in zip(folds, orders, strict=True)
        ]
        found = _out_of_fold(pipeline, X, y, chosen, levels)
        scores = _scores(found, y, groups, levels, measures)
        size = float(np.mean([len(train) for train, _ in chosen]))
        rows.append({"n_speakers": int(number), "n_recordings": size, **scores})
    return pd.DataFrame(rows)


def cross_corpus(
    pipeline: Any,
    corpora: Mapping[str, tuple[Any, Any, Any]],
    *,
    cv: Any = 5,
    levels: ArrayLike | range | None = None,
    measures: Sequence[str] = _MEASURES,
) -> pd.DataFrame:
    """Fit on each corpus and score on each other; within a corpus, by cross-validation by speaker.

    Labels must mean the same in all corpora. Scores of one column compare with each other: the
    recordings that are scored are the same.

    Parameters
    ----------
    pipeline : estimator
        Not changed; give it ``memory=``, so that features are extracted once.
    corpora : dict of str to (X, y, groups)
        Recordings, labels and speakers, by name.
    cv : int or splitter, default=5
        Folds by speaker within a corpus, see :func:`learning_curve`.
    levels : array-like of shape (n_levels,), optional
        The scale of all corpora; by default the whole numbers that all their labels span.
    measures : sequence of str, default=("mae", "macro_mae", "qwk")
        See :func:`group_report`.

    Returns
    -------
    DataFrame
        Index ``train, test``; columns ``n, speakers`` (that are scored) and for each measure
        ``mae, mae_low, mae_high`` (95 %, by bootstrap over the speakers that are scored) and
        ``mae_constant`` (the median of the same training labels).

    Raises
    ------
    ValueError
        If lengths differ, or labels of text come without ``levels``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn_speechsent.inspection import cross_corpus
    >>> rng = np.random.default_rng(0)
    >>> y, speakers = np.tile([-1, 0, 1], 20), np.repeat(range(6), 10)
    >>> X = y[:, None] + rng.normal(size=(60, 1))
    >>> table = cross_corpus(Ridge(), {"plain": (X, y, speakers), "odd": (-X, y, speakers)}, cv=3)
    >>> table["qwk"].unstack().round(1)
    test   odd  plain
    train
    odd    0.6   -0.7
    plain -0.7    0.6
    """
    if levels is None:
        spans = [read_labels(y, None)[0] for _, y, _ in corpora.values()]
        if any(span.dtype.kind == "U" for span in spans):
            raise ValueError("Labels are text: pass levels=, from the lowest to the highest.")
        ends = [np.rint(f([f(span) for span in spans])) for f in (np.min, np.max)]
        levels = np.arange(ends[0], ends[1] + 1).astype(int)
    index, rows = [], []
    for name, (X, y, groups) in corpora.items():
        check_consistent_length(y, groups)
        folds = _folds(cv, X, y, np.asarray(groups), levels)
        within = _out_of_fold(pipeline, X, y, folds, levels)
        fitted = clone(pipeline).fit(X, y)
        for other, (test_X, test_y, speakers) in corpora.items():
            constant = np.full(len(test_y), _median(y, levels))
            found = within if other == name else (fitted.predict(test_X), constant)
            scores = _scores(found, test_y, speakers, levels, measures)
            size = {"n": len(test_y), "speakers": len(pd.unique(np.asarray(speakers)))}
            index.append((name, other))
            rows.append(size | scores)
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(index, names=["train", "test"]))


def _folds(cv: Any, X: Any, y: Any, groups: NDArray[Any], levels: Any) -> list[Any]:
    """Folds that are checked to hold each speaker on one side."""
    if isinstance(cv, int):
        cv = StratifiedSpeakerKFold(cv, levels=levels)
    folds = list(check_cv(cv).split(X, y, groups))
    for number, (train, test) in enumerate(folds):
        both = np.intersect1d(groups[train], groups[test])
        if len(both):
            raise ValueError(
                f"Speaker {both[0]!r} is on both sides of split {number}: pass folds by speaker, "
                "such as StratifiedSpeakerKFold."
            )
    tested = np.concatenate([test for _, test in folds])
    if not np.array_equal(np.sort(tested), np.arange(len(groups))):
        raise ValueError("Folds must test every recording once: pass cv= without repetitions.")
    return folds


def _median(y: Any, levels: Any) -> Any:
    """Middle label in ordinal order, a label itself: the lower of two."""
    values, scale = read_labels(y, levels)
    if scale is None or values.dtype.kind != "U":
        order = np.argsort(values)
    else:
        order = np.argsort(level_index(values, scale))
    return values[order[(len(order) - 1) // 2]]


def _out_of_fold(
    pipeline: Any, X: Any, y: Any, folds: list[Any], levels: Any
) -> tuple[list[Any], list[Any]]:
    """Predictions of held-out recordings, and those of the constant."""
    predictions: list[Any] = [None] * len(y)
    constants: list[Any] = [None] * len(y)
    for train, test in folds:
        labels = safe_indexing(y, train)
        found = clone(pipeline).fit(safe_indexing(X, train), labels)
        constant = _median(labels, levels)
        for row, value in zip(test, found.predict(safe_indexing(X, test)), strict=True):
            predictions[row], constants[row] = value, constant
    return predictions, constants


def _scores(
    predictions: tuple[Any, Any], y: Any, speakers: Any, levels: Any, measures: Sequence[str]
) -> dict[str, float]:
    """Measures of predictions with intervals, and those of the constant."""
    both = [
        group_report(y, p, {}, speakers=speakers, levels=levels, measures=measures).iloc[0]
        for p in predictions
    ]
    found: dict[str, float] = {}
    for name in measures:
        found |= {key: both[0][key] for key in (name, f"{name}_low", f"{name}_high")}
        found[f"{name}_constant"] = both[1][name]
    return found
