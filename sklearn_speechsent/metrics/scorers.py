"""Scorers by name, for ``scoring=`` of GridSearchCV, cross_validate and their kin."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sklearn.metrics
from numpy.typing import ArrayLike

from sklearn_speechsent.metrics.agreement import (
    concordance_correlation_score,
    kendall_score,
    pearson_score,
    spearman_score,
)
from sklearn_speechsent.metrics.exact import rounded_accuracy_score, rounded_f1_score
from sklearn_speechsent.metrics.levels import SENTIMENT_LEVELS, check_levels
from sklearn_speechsent.metrics.ordinal import (
    macro_mean_absolute_error,
    quadratic_weighted_kappa_score,
    threshold_accuracy_score,
    within_one_accuracy_score,
)
from sklearn_speechsent.metrics.polarity import (
    nonnegative_accuracy_score,
    nonnegative_f1_score,
    polarity_accuracy_score,
    polarity_f1_score,
)
from sklearn_speechsent.metrics.probabilistic import align_proba, ranked_probability_error

Scorer = Callable[..., float]


@dataclass(frozen=True)
class _NegativeRankedProbability:
    """Scorer of predict_proba; a fold that lacks a level has fewer columns, so it aligns them."""

    levels: tuple[float, ...]

    def __call__(
        self, estimator: Any, X: Any, y_true: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        proba = align_proba(estimator.predict_proba(X), estimator.classes_, self.levels)
        return -ranked_probability_error(y_true, proba, self.levels, sample_weight=sample_weight)

    def _accept_sample_weight(self) -> bool:  # a search asks this of every scorer of a dict
        return True


# name: (function, greater is better, bound parameters)
_METRICS: dict[str, tuple[Callable[..., float], bool, dict[str, Any]]] = {
    "acc5": (rounded_accuracy_score, True, {"levels": range(-2, 3)}),
    "acc7": (rounded_accuracy_score, True, {"levels": range(-3, 4)}),
    "ccc": (concordance_correlation_score, True, {}),
    "kendall": (kendall_score, True, {}),
    "neg_macro_mae": (macro_mean_absolute_error, False, {}),
    "neg_mae": (sklearn.metrics.mean_absolute_error, False, {}),
    "nonnegative_accuracy": (nonnegative_accuracy_score, True, {}),
    "nonnegative_f1": (nonnegative_f1_score, True, {}),
    "pearson": (pearson_score, True, {}),
    "polarity_accuracy": (polarity_accuracy_score, True, {}),
    "polarity_f1": (polarity_f1_score, True, {}),
    "qwk": (quadratic_weighted_kappa_score, True, {}),
    "rounded_accuracy": (rounded_accuracy_score, True, {}),
    "rounded_f1_macro": (rounded_f1_score, True, {"average": "macro"}),
    "rounded_f1_micro": (rounded_f1_score, True, {"average": "micro"}),
    "rounded_f1_weighted": (rounded_f1_score, True, {"average": "weighted"}),
    "spearman": (spearman_score, True, {}),
    "threshold_accuracy": (threshold_accuracy_score, True, {}),
    "within_one": (within_one_accuracy_score, True, {}),
}


def get_scorer_names() -> list[str]:
    """Names of the scorers of this package.

    Returns
    -------
    list of str
        Sorted names for :func:`get_scorer`, which knows those of scikit-learn besides.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import get_scorer_names
    >>> "ccc" in get_scorer_names()
    True
    """
    return sorted([*_METRICS, "neg_rps"])


def get_scorer(scoring: str | Scorer, levels: ArrayLike | range | None = None) -> Scorer:
    """Scorer by name, with the levels of the corpus bound to it.

    Greater is better for every scorer; errors are negated and named ``neg_…``. They serve
    regressors and classifiers of levels alike, also in a fold without some level. ``neg_rps``
    needs `predict_proba` and `classes_`, all others `predict`.

    Parameters
    ----------
    scoring : str or callable
        A name of :func:`get_scorer_names`, else one of scikit-learn's. A callable
        ``scorer(estimator, X, y)`` comes back as it is.
    levels : array-like of numbers of shape (n_levels,), default=None
        The fixed set of levels, None for -3 … 3. Scorers whose metric has no levels, such as
        ``ccc``, pay no heed to it.

    Returns
    -------
    callable
        The scorer, with the signature ``scorer(estimator, X, y, *, sample_weight=None)`` where
        its metric takes weights.

    Raises
    ------
    ValueError
        If the name is unknown, if `levels` are given to ``acc5`` or ``acc7``, whose name fixes
        them, or if they are not two or more numbers in ascending order.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn_speechsent.metrics import get_scorer
    >>> X, y = np.zeros((6, 1)), [-2, -1, 0, 0, 1, 2]
    >>> scorer = get_scorer("threshold_accuracy", levels=range(-2, 3))
    >>> cross_val_score(DummyRegressor(), X, y, scoring=scorer, cv=2)
    array([0.5, 0.5])
    """
    if callable(scoring):
        return scoring
    steps = None if levels is None else tuple(check_levels(levels).tolist())
    if scoring == "neg_rps":
        return _NegativeRankedProbability(steps or tuple(SENTIMENT_LEVELS))
    if scoring not in _METRICS:
        return _sklearn_scorer(scoring)
    metric, greater_is_better, bound = _METRICS[scoring]
    if steps and "levels" in bound:
        raise ValueError(f"{scoring!r} fixes its levels; for others use 'rounded_accuracy'.")
    if steps and "levels" in inspect.signature(metric).parameters:
        bound = {**bound, "levels": steps}
    return sklearn.metrics.make_scorer(metric, greater_is_better=greater_is_better, **bound)


def _sklearn_scorer(scoring: str) -> Scorer:
    if scoring not in sklearn.metrics.get_scorer_names():
        raise ValueError(
            f"Unknown scorer {scoring!r}. Use one of {get_scorer_names()} or a name of "
            "sklearn.metrics.get_scorer_names()."
        )
    return sklearn.metrics.get_scorer(scoring)
