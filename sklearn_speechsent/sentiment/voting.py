"""Several classifiers or regressors that decide together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.base import ClassifierMixin, clone
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.metrics.exact import level_accuracy
from sklearn_speechsent.metrics.levels import nan_where
from sklearn_speechsent.metrics.scale import read_target
from sklearn_speechsent.sentiment.intensity import IntensityMixin, read_intensities
from sklearn_speechsent.sentiment.labels import check_scale, find_levels
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.estimators import EstimatorMixin, addressed_weight, final_step
from sklearn_speechsent.utils.repeats import without_repeats
from sklearn_speechsent.utils.sklearn_compat import (
    BaseHeterogeneousEnsemble,
    StrOptions,
    fit_context,
)

#: A member that is surer counts as this sure: its word would be final otherwise.
SURE = 1e-9


class VotingEstimator(EstimatorMixin, BaseHeterogeneousEnsemble):
    """Members that take the same X, such as whole Pipelines, and the mean of what they give."""

    estimators_: list[Any]
    named_estimators_: Bunch

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimators": [list],
        "weights": ["array-like", None],
    }

    def __init__(
        self, estimators: list[tuple[str, Any]], *, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(estimators=estimators)
        self.weights = weights

    def _members(self) -> dict[str, Any]:
        """Clones of the members that are not dropped, after the parameters were checked."""
        names, members = self._validate_estimators()
        self._check_weights()
        pairs = zip(names, members, strict=True)
        return {name: clone(member) for name, member in pairs if member != "drop"}

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        weights = np.asarray(self.weights, dtype=float)
        if len(weights) != len(self.estimators) or not (weights >= 0).all() or not weights.any():
            raise ValueError(
                f"weights={self.weights!r} must be {len(self.estimators)} numbers from 0, one for "
                "each member and not all of them zero."
            )

    def _fit_members(self, members: dict[str, Any], X: Any, y: Any, sample_weight: Any) -> None:
        """Fit members, the last steps of which are given the weights."""
        with without_repeats():
            for member in members.values():
                params = {}
                if sample_weight is not None:
                    params = addressed_weight(member, sample_weight)
                member.fit(X, y, **params)
        self.estimators_ = list(members.values())
        self.named_estimators_ = Bunch(**members)

    def _average(self, found: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
        """Weighted mean of what is found of each member; NaN where one of them is."""
        check_is_fitted(self)
        weights = self.weights
        if weights is not None:
            weights = [
                weight
                for weight, (_, member) in zip(weights, self.estimators, strict=True)
                if member != "drop"
            ]
        with without_repeats():
            return np.average([found(member) for member in self.estimators_], 0, weights)


class OrdinalVotingClassifier(ClassifierMixin, VotingEstimator):
    """Ordinal classifiers that decide together about each threshold.

    Like :class:`~sklearn.ensemble.VotingClassifier`, of any classifiers with ``predict_proba`` that
    take the same X, such as whole Pipelines. The log-odds that the level lies above a threshold are
    averaged over the members, a logarithmic opinion pool [1]_ for each threshold. For the default
    of :class:`~sklearn_speechsent.OrdinalClassifier` these are its decision values. The predicted
    level is the number of thresholds with positive log-odds; scikit-learn's own class takes the
    most probable level, and ignores the order of levels.

    Parameters
    ----------
    estimators : list of (str, classifier)
        Members and their names. ``set_params(name="drop")`` leaves one out.
    weights : sequence of float, optional
        Of the members; equal by default.
    levels : array-like, optional
        The scale, see :class:`~sklearn_speechsent.OrdinalClassifier`. Members learn the levels that
        are found here, where their last step has ``levels=None``.
    on_error : {"raise", "nan"}, default="raise"
        What ``predict`` does with rows for which a member gives NaN: raise an error that names
        them, or predict NaN. What ``fit`` does with rows of NaN is up to the members.

    Attributes
    ----------
    estimators_ : list of classifiers
        Fitted clones of the members that are not dropped.
    named_estimators_ : Bunch
        The same by their names.
    levels_ : ndarray of shape (n_levels,)
        Levels in ordinal order.
    classes_ : ndarray of shape (n_levels,)
        Levels in the order of the columns of ``predict_proba``, sorted.

    See Also
    --------
    IntensityVotingRegressor : The mean of intensities.

    References
    ----------
    .. [1] C. Genest and J. V. Zidek, "Combining probability distributions: a critique and an
       annotated bibliography", Statistical Science 1(1), 1986.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_speechsent import OrdinalClassifier, OrdinalVotingClassifier
    >>> X = np.linspace(-3, 3, 60)[:, None]
    >>> members = [("svm", OrdinalClassifier()), ("lr", OrdinalClassifier(LogisticRegression()))]
    >>> model = OrdinalVotingClassifier(members).fit(X, np.rint(X.ravel()))
    >>> model.predict([[-2.9], [0.1], [2.0]])
    array([-3.,  0.,  2.])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **VotingEstimator._parameter_constraints,
        "levels": ["array-like", None],
        "on_error": [StrOptions({"raise", "nan"})],
    }

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        *,
        weights: Sequence[float] | None = None,
        levels: ArrayLike | None = None,
        on_error: str = "raise",
    ) -> None:
        super().__init__(estimators, weights=weights)
        self.levels = levels
        self.on_error = on_error

    @reports_fit()
    # Members are checked by their own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> OrdinalVotingClassifier:
        """Fit a clone of every member.

        Parameters
        ----------
        X : see the members
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Labels or votes as in :class:`~sklearn_speechsent.OrdinalClassifier`, which members
            have to take, too.
        sample_weight : array-like of shape (n,), optional
            Passed to the last step of every member.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If labels cannot be used, a member learns other levels, all members are dropped, or
            weights do not fit the members.
        """
        members = self._members()
        values, scale = read_target(y, self.levels, warn=True)
        check_scale(values, scale)
        levels = find_levels(values, scale)
        for member in members.values():
            self._give_levels(member, levels)
        self._fit_members(members, X, y, sample_weight)
        self.levels_, self.classes_ = levels, np.sort(levels)
        for name, member in members.items():
            if not np.array_equal(member.classes_, self.classes_):
                raise ValueError(
                    f"{name} has learned the levels {member.classes_.tolist()}, and not "
                    f"{self.classes_.tolist()}. Pass the same levels= to all members, or to none."
                )
        return self

    @staticmethod
    def _give_levels(member: Any, levels: NDArray[Any]) -> None:
        """Let a member learn these levels, if its last step does not have its own."""
        prefix, last = final_step(member)
        if last.get_params(deep=False).get("levels", levels) is None:
            member.set_params(**{f"{prefix}levels": levels})

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each level.

        Parameters
        ----------
        X : see the members

        Returns
        -------
        ndarray of shape (n, n_levels)
            In the order of ``classes_``; NaN in rows for which a member gives NaN.
        """
        above = expit(self._log_odds(X))
        edges = np.pad(above, ((0, 0), (1, 0)), constant_values=1.0)
        edges = np.pad(edges, ((0, 0), (0, 1)), constant_values=0.0)
        proba = edges[:, :-1] - edges[:, 1:]
        proba[np.isnan(above).any(axis=1)] = np.nan
        return proba[:, np.argsort(self.levels_)]

    def _log_odds(self, X: Any) -> NDArray[np.float64]:
        """Mean log-odds of "above the threshold", shape (n, n_thresholds)."""
        check_is_fitted(self)
        ordinal = np.argsort(np.argsort(self.levels_))

        def log_odds(member: Any) -> NDArray[np.float64]:
            above = 1 - np.cumsum(member.predict_proba(X)[:, ordinal], axis=1)[:, :-1]
            return logit(np.clip(above, SURE, 1 - SURE))

        return self._average(log_odds)

    def predict(self, X: Any) -> NDArray[Any]:
        """Level of each row: the number of thresholds that are likely exceeded.

        Parameters
        ----------
        X : see the members

        Returns
        -------
        ndarray of shape (n,)
            Values of ``levels_``; with ``on_error="nan"`` NaN where a member gives NaN.

        Raises
        ------
        ValueError
            If a member gives NaN and ``on_error="raise"``; the message names the rows.
        """
        log_odds = self._log_odds(X)
        levels = self.levels_[(log_odds > 0).sum(axis=1)]
        return nan_where(levels, np.asarray(np.isnan(log_odds).any(axis=1)), self.on_error)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy; real labels count as the nearest level, votes as their median.

        Parameters
        ----------
        X : see the members
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            As in ``fit``. Labels off the scale count as wrong.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        float
        """
        given = self.levels is not None
        return level_accuracy(y, self.predict(X), self.levels_, sample_weight, given=given)


class IntensityVotingRegressor(IntensityMixin, VotingEstimator):
    """Regressors whose predictions are averaged.

    Like :class:`~sklearn.ensemble.VotingRegressor`, which does not pass ``sample_weight`` to
    Pipelines.

    Parameters
    ----------
    estimators : list of (str, regressor)
        Members and their names. ``set_params(name="drop")`` leaves one out.
    weights : sequence of float, optional
        Of the members; equal by default.

    Attributes
    ----------
    estimators_ : list of regressors
        Fitted clones of the members that are not dropped.
    named_estimators_ : Bunch
        The same by their names.

    See Also
    --------
    OrdinalVotingClassifier : The same for levels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn_speechsent import IntensityRegressor, IntensityVotingRegressor
    >>> X = np.linspace(-3, 3, 60)[:, None]
    >>> members = [("svm", IntensityRegressor(C=100)), ("line", LinearRegression())]
    >>> model = IntensityVotingRegressor(members, weights=[1, 2]).fit(X, X.ravel() / 2)
    >>> model.predict([[-2.0], [1.0]]).round(1)
    array([-1. ,  0.5])
    """

    @reports_fit()
    # Members are checked by their own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> IntensityVotingRegressor:
        """Fit a clone of every member.

        Parameters
        ----------
        X : see the members
        y : array-like of shape (n,), or DataFrame of votes of shape (n, n_levels)
            Finite numbers, or votes, whose mean is the label.
        sample_weight : array-like of shape (n,), optional
            Passed to the last step of every member.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a label is not a finite number, all members are dropped, or weights do not fit the
            members.
        """
        self._fit_members(self._members(), X, read_intensities(y), sample_weight)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Mean of the members' intensities.

        Parameters
        ----------
        X : see the members

        Returns
        -------
        ndarray of shape (n,)
            NaN in rows for which a member gives NaN.
        """
        return self._average(lambda member: member.predict(X))
