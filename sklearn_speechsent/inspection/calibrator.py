"""Probabilities of levels, calibrated on speakers that the estimator was not fitted on."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from sklearn_speechsent.inspection.speakerwise import SpeakerwiseEstimator
from sklearn_speechsent.inspection.thresholds import known_rows, level_of, log_odds, proba_of
from sklearn_speechsent.metrics.scale import target_shares
from sklearn_speechsent.metrics.votes import share_above
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    SigmoidCalibration,
    StrOptions,
    fit_context,
)


class OrdinalCalibrator(SpeakerwiseEstimator):
    """Calibrate the probability that the level lies above each threshold, by speaker.

    Clones of ``estimator`` are fitted without some of the speakers, and say how likely the level of
    these lies above each threshold. One function for each threshold learns how often it does. Last,
    ``estimator`` is fitted on everything, and the functions correct what it says. The probabilities
    of the thresholds are sorted to decrease, so that those of the levels are never negative.

    It goes around a whole Pipeline, or into one as the last step; there, features are computed once
    without any ``memory=``.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``, such as the Pipeline of
        :func:`~sklearn_speechsent.make_sentiment_pipeline`. A fitted one inside of a
        :class:`~sklearn.frozen.FrozenEstimator` stays as it is: pass to ``fit`` speakers that it
        has not met.
    method : {"sigmoid", "isotonic"}, default="sigmoid"
        A logistic function of the log-odds [1]_, or the best one that never decreases, which needs
        more speakers.
    cv : int, splitter or iterable of (train, test), optional
        Folds over speakers, see :func:`cross_val_ordinal`. With a single one ``estimator_`` is
        fitted on its training part only.
    n_jobs : int, optional
        Folds that are computed at the same time.
    verbose : int, default=0
        Whether to show progress.

    Attributes
    ----------
    estimator_ : classifier
        Fitted.
    calibrators_ : list of regressors
        One for each threshold, from the lowest to the highest: from log-odds to probability.
    levels_ : ndarray of shape (n_levels,)
        Levels in ordinal order.
    classes_ : ndarray of shape (n_levels,)
        Levels in the order of the columns of ``predict_proba``, sorted.
    n_features_in_ : int
        Number of features, if the estimator knows it.
    feature_names_in_ : ndarray of str
        Names of the features, if the estimator knows them.

    See Also
    --------
    CalibrationDisplay : Draws how often a probability comes true.
    ConformalOrdinal : Sets of levels instead of probabilities.
    sklearn.calibration.CalibratedClassifierCV : Ignores order and speakers.

    Notes
    -----
    The default :class:`~sklearn_speechsent.OrdinalClassifier` weights all levels alike, and says
    that rare ones are more likely than they are. Calibrated, it predicts them less often, which may
    cost macro MAE.

    With metadata routing ``groups`` are requested by default.

    References
    ----------
    .. [1] J. Platt, "Probabilistic outputs for support vector machines and comparisons to
       regularized likelihood methods", Advances in Large Margin Classifiers, 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import OrdinalClassifier
    >>> from sklearn_speechsent.inspection import OrdinalCalibrator
    >>> rng = np.random.default_rng(0)
    >>> y, speakers = np.tile([-1, 0, 1], 40), np.repeat(np.arange(12), 10)
    >>> X = y[:, None] + rng.normal(size=(120, 2))
    >>> model = OrdinalCalibrator(OrdinalClassifier()).fit(X, y, groups=speakers)
    >>> model.predict_proba([[1.0, 1.0]]).argmax()
    np.int64(2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SpeakerwiseEstimator._parameter_constraints,
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "method": [StrOptions({"sigmoid", "isotonic"})],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "sigmoid",
        cv: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose

    @reports_fit()
    # The estimator is checked by its own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, *, groups: Any = None) -> OrdinalCalibrator:
        """Fit the estimator, and calibrate it on held-out speakers.

        Parameters
        ----------
        X : see the estimator
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Levels: numbers, an ordered category of pandas, or text of which the estimator's
            ``levels`` gives the order. Of votes each threshold learns the share that lies above it.
        groups : array-like of shape (n,), optional
            Speakers. Without them every row counts as one, with a warning. They are also passed to
            the estimator, if it takes any.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data do not fit together, there are fewer than two speakers or levels, or ``cv`` has
            a speaker on both sides.

        Warns
        -----
        UserWarning
            Without ``groups``, and if a level is absent from the training part of a fold.
        """
        target, _, found = self._fit_apart(X, y, groups)
        above, odds = share_above(target_shares(target, self.levels_)), log_odds(found.values)
        usable = np.tile(known_rows(odds)[:, np.newaxis], odds.shape[1])
        learned = usable.copy()
        for train, test in found.folds:
            # A model that met one side of a threshold only says nothing about it.
            learned[test] &= (above[train] > 0).any(axis=0) & (above[train] < 1).any(axis=0)
        self.calibrators_ = []
        for k, share in enumerate(above.T):
            rows = learned[:, k] if learned[:, k].any() else usable[:, k]
            self.calibrators_.append(self._fit_threshold(odds[rows, k], share[rows]))
        self.classes_ = np.sort(self.levels_)
        return self

    def _fit_threshold(self, odds: NDArray[np.floating], share: NDArray[np.floating]) -> Any:
        """Fit a function; of divided votes each side counts with its share."""
        divided = (share > 0) & (share < 1)
        weight = np.append(np.where(divided, share, 1), 1 - share[divided])
        side = np.append(share > 0, np.zeros(divided.sum(), dtype=bool))
        return self._calibrator().fit(np.append(odds, odds[divided]), side, weight)

    def _calibrator(self) -> Any:
        if self.method == "sigmoid":
            return SigmoidCalibration()
        return IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Calibrated probability of each level.

        Parameters
        ----------
        X : see the estimator

        Returns
        -------
        ndarray of shape (n, n_levels)
            In the order of ``classes_``; NaN where that of the estimator is.
        """
        return self._calibrated(X)[:, np.argsort(self.levels_)]

    def _calibrated(self, X: Any) -> NDArray[np.float64]:
        """Probabilities in ordinal order."""
        odds = log_odds(self._values(X))
        known = known_rows(odds)
        above = np.full(odds.shape, np.nan)
        if known.any():
            for k, calibrator in enumerate(self.calibrators_):
                above[known, k] = calibrator.predict(odds[known, k])
        return np.where(known[:, np.newaxis], proba_of(above), np.nan)

    def predict(self, X: Any) -> NDArray[Any]:
        """Level of each row: the number of thresholds that are likely exceeded.

        Parameters
        ----------
        X : see the estimator

        Returns
        -------
        ndarray of shape (n,)
            Values of ``levels_``; NaN where the estimator's probabilities are, if its ``on_error``
            is not "raise".

        Raises
        ------
        ValueError
            If they are, and ``on_error="raise"``; the message names the rows.
        """
        return level_of(self._calibrated(X), self.levels_, self._on_error())
