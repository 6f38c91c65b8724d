"""Scorers by name, for ``scoring=`` of GridSearchCV, cross_validate and similar functions."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.metrics
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from sklearn_speechsent.metrics.agreement import (
    concordance_correlation_score,
    kendall_score,
    pearson_score,
    spearman_score,
)
from sklearn_speechsent.metrics.annotators import expected_absolute_error, vote_share_score
from sklearn_speechsent.metrics.exact import (
    binned_accuracy_score,
    rounded_accuracy_score,
    rounded_f1_score,
)
from sklearn_speechsent.metrics.labels import as_array
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
from sklearn_speechsent.metrics.probabilistic import cross_entropy_error, ranked_probability_error
from sklearn_speechsent.metrics.scale import scored_labels

Scorer = Callable[..., float]


@dataclass(frozen=True)
class _ProbabilityScorer:
    """Scorer of predict_proba, which has fewer columns in a fold that lacks a level."""

    error: Callable[..., float]
    levels: tuple[Any, ...] | None

    def __call__(
        self, estimator: Any, X: Any, y_true: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        levels = SENTIMENT_LEVELS if self.levels is None else self.levels
        _, scale = scored_labels(y_true, levels)
        proba = _align_proba(estimator.predict_proba(X), estimator.classes_, np.sort(scale))
        return -self.error(y_true, proba, levels, sample_weight=sample_weight)

    def _accept_sample_weight(self) -> bool:  # a search asks this of every scorer of a dict
        return True


#: Errors of probabilities, which are negated.
_PROBABILISTIC: dict[str, Callable[..., float]] = {
    "neg_cross_entropy_error": cross_entropy_error,
    "neg_ranked_probability_error": ranked_probability_error,
}
#: name: (function, greater is better, bound parameters)
_METRICS: dict[str, tuple[Callable[..., float], bool, dict[str, Any]]] = {
    "acc5": (rounded_accuracy_score, True, {"levels": range(-2, 3)}),
    "acc7": (rounded_accuracy_score, True, {"levels": range(-3, 4)}),
    "acc7_sdk": (binned_accuracy_score, True, {}),
    "concordance_correlation": (concordance_correlation_score, True, {}),
    "kendall": (kendall_score, True, {}),
    "neg_expected_absolute_error": (expected_absolute_error, False, {}),
    "neg_macro_mean_absolute_error": (macro_mean_absolute_error, False, {}),
    "nonnegative_accuracy": (nonnegative_accuracy_score, True, {}),
    "nonnegative_f1": (nonnegative_f1_score, True, {}),
    "pearson": (pearson_score, True, {}),
    "polarity_accuracy": (polarity_accuracy_score, True, {}),
    "polarity_f1": (polarity_f1_score, True, {}),
    "quadratic_weighted_kappa": (quadratic_weighted_kappa_score, True, {}),
    "rounded_accuracy": (rounded_accuracy_score, True, {}),
    "rounded_f1_macro": (rounded_f1_score, True, {"average": "macro"}),
    "rounded_f1_micro": (rounded_f1_score, True, {"average": "micro"}),
    "rounded_f1_weighted": (rounded_f1_score, True, {"average": "weighted"}),
    "spearman": (spearman_score, True, {}),
    "threshold_accuracy": (threshold_accuracy_score, True, {}),
    "vote_share": (vote_share_score, True, {}),
    "within_one_accuracy": (within_one_accuracy_score, True, {}),
}


def get_scorer_names() -> list[str]:
    """Names of the scorers of this package.

    Returns
    -------
    list of str
        Sorted names for :func:`get_scorer`, which also knows those of scikit-learn.

    See Also
    --------
    get_scorer : The scorers.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import get_scorer_names
    >>> "concordance_correlation" in get_scorer_names()
    True
    """
    return sorted([*_METRICS, *_PROBABILISTIC])


def get_scorer(scoring: str | Scorer, levels: ArrayLike | range | None = None) -> Scorer:
    """Scorer by name, with the levels of the corpus bound to it.

    A scorer is named after its metric, without ``_score`` at the end; errors are negated, with
    ``neg_`` in front, so that greater is always better. ``"acc7"`` and ``"acc5"`` are
    ``"rounded_accuracy"`` on -3 … 3 and -2 … 2, ``"acc7_sdk"`` is
    :func:`~sklearn_speechsent.metrics.binned_accuracy_score`. All take regressors and classifiers
    of levels, also in a fold that lacks a level. ``"neg_ranked_probability_error"`` and
    ``"neg_cross_entropy_error"`` need `predict_proba` and `classes_`, the others `predict`.

    `y` may be a table of votes, see
    :func:`~sklearn_speechsent.metrics.ranked_probability_error`. These two, ``"vote_share"`` and
    ``"neg_expected_absolute_error"`` compare with all votes; other scorers of levels compare with
    the median of the votes, and those of intensities with their mean.

    Parameters
    ----------
    scoring : str or callable
        A name of :func:`get_scorer_names`, or one of scikit-learn's. A callable
        ``scorer(estimator, X, y)`` is returned as it is.
    levels : array-like of shape (n_levels,), default=None
        The fixed set of levels, from the lowest to the highest; None for the order of `y` if it is
        an ordered category or has columns named after levels, otherwise for -3 … 3.
        Scorers whose metric has no levels, such as ``"pearson"``, ignore it.

    Returns
    -------
    callable
        The scorer, with the signature ``scorer(estimator, X, y, *, sample_weight=None)`` where
        its metric takes weights.

    Raises
    ------
    ValueError
        If the name is unknown, if `levels` are given to ``acc5``, ``acc7`` or ``acc7_sdk``, whose
        name fixes them, or if they are not two or more numbers in ascending order.

    See Also
    --------
    get_scorer_names : The names.
    ordinal_report : All figures at once.

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
    if scoring in _PROBABILISTIC:
        return _ProbabilityScorer(_PROBABILISTIC[scoring], steps)
    if scoring not in _METRICS:
        return _sklearn_scorer(scoring)
    metric, greater_is_better, bound = _METRICS[scoring]
    if steps and scoring.startswith("acc"):
        raise ValueError(f"{scoring!r} fixes its levels; for others use 'rounded_accuracy'.")
    if steps and "levels" in inspect.signature(metric).parameters:
        bound = {**bound, "levels": steps}
    return sklearn.metrics.make_scorer(metric, greater_is_better=greater_is_better, **bound)


def _align_proba(proba: ArrayLike, classes: ArrayLike, steps: NDArray[Any]) -> NDArray[np.float64]:
    """Spread the columns of the classes seen in training over all levels, 0 for the others."""
    seen = as_array(classes)
    columns = check_array(proba, dtype=np.float64, ensure_all_finite=False)
    if columns.shape[1] != len(seen):
        raise ValueError(f"proba has {columns.shape[1]} columns for {len(seen)} classes.")
    if not np.isin(seen, steps).all():
        raise ValueError(f"The classes {seen.tolist()} are not all levels of {steps.tolist()}.")
    aligned = np.zeros((len(columns), len(steps)))
    aligned[:, np.searchsorted(steps, seen)] = columns
    return aligned


def _sklearn_scorer(scoring: str) -> Scorer:
    if scoring not in sklearn.metrics.get_scorer_names():
        raise ValueError(
            f"Unknown scorer {scoring!r}. Use one of {get_scorer_names()} or a name of "
            "sklearn.metrics.get_scorer_names()."
        )
    return sklearn.metrics.get_scorer(scoring)
