"""Sets of neighbouring levels, and intervals, that hold the truth as often as is asked for."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils import gen_batches
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.inspection.out_of_fold import predicted_values
from sklearn_speechsent.inspection.speakerwise import SpeakerwiseEstimator
from sklearn_speechsent.inspection.thresholds import (
    expected_level,
    known_rows,
    level_of,
    level_values,
)
from sklearn_speechsent.metrics.levels import nan_where
from sklearn_speechsent.metrics.scale import target_index
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)

#: Pairs of a row and a held-out recording that are looked at together: 80 MB.
_PAIRS = 10_000_000


def _has_levels(model: ConformalOrdinal) -> bool:
    """Whether there are levels and not only intensities; if not, the error gives the reason."""
    if not is_classifier(model.estimator):
        raise AttributeError(f"{model.estimator!r} predicts intensities: use predict_interval.")
    return True


def _has_probabilities(model: ConformalOrdinal) -> bool:
    """Whether there are probabilities; if not, the error gives the reason."""
    getattr(getattr(model, "estimator_", model.estimator), "predict_proba")  # noqa: B009
    return True


def nonconformity(proba: NDArray[np.floating]) -> NDArray[np.floating]:
    """Tell how badly each level conforms to the probabilities.

    It is one less the probability of the most likely level among it and those that lie beyond it,
    seen from the most likely one of all. Levels below a limit are therefore neighbours.

    Parameters
    ----------
    proba : ndarray of shape (n, n_levels)
        In ordinal order.

    Returns
    -------
    ndarray of shape (n, n_levels)

    Examples
    --------
    >>> import numpy as np
    >>> nonconformity(np.array([[0.5, 0.0, 0.25, 0.25]]))
    array([[0.5 , 0.75, 0.75, 0.75]])
    """
    left = np.maximum.accumulate(proba, axis=1)
    right = np.maximum.accumulate(proba[:, ::-1], axis=1)[:, ::-1]
    return 1 - np.minimum(left, right)


class ConformalOrdinal(SpeakerwiseEstimator):
    """Sets of levels and intervals with a stated coverage of new speakers.

    Clones of ``estimator`` are fitted without some of the speakers. How badly the true levels of
    these conform to what is said about them shows which levels cannot be ruled out for another
    speaker: conformal prediction [1]_, where the speaker and not the recording is what is
    exchangeable [2]_. Each speaker has the same weight, however many recordings there are of them.

    It goes around a whole Pipeline, or into one as the last step; there, features are computed once
    without any ``memory=``.

    Parameters
    ----------
    estimator : classifier or regressor
        Such as the Pipeline of :func:`~sklearn_speechsent.make_sentiment_pipeline`, or an
        :class:`OrdinalCalibrator` around it. Of a regressor there are intervals only. A fitted one
        inside of a :class:`~sklearn.frozen.FrozenEstimator` stays as it is: pass to ``fit``
        speakers that it has not met.
    alpha : float, default=0.1
        Share of recordings whose set or interval may miss the truth.
    method : {"base", "plus"}, default="base"
        Who says something about new recordings: ``estimator_``, fitted on everything, or each of
        the models of the folds, so that no recording is compared with one that another model has
        looked at (CV+ [3]_). That takes as many predictions as there are folds and gives larger
        sets.
    guarantee : bool, default=False
        Whether coverage holds in expectation for any number of held-out speakers, as if the next
        one had been among them with the worst of all recordings [2]_. Sets are larger, and with
        fewer than ``1 / alpha - 1`` held-out speakers they hold every level. Of folds with
        ``method="base"`` it remains approximate.
    max_levels : int, optional
        Where the set holds more levels, ``predict`` gives NaN.
    cv : int, splitter or iterable of (train, test), optional
        Folds over speakers, see :func:`cross_val_ordinal`: cross-conformal prediction. A single
        fold is split conformal prediction: ``estimator_`` is fitted on its training part, and its
        test part holds the calibration speakers. Next to ``calibration`` it is an error.
    calibration : array-like, optional
        Speakers that ``estimator`` is never fitted on, in place of ``cv``.
    n_jobs : int, optional
        Folds that are computed at the same time.
    verbose : int, default=0
        Whether to show progress.

    Attributes
    ----------
    estimator_ : estimator
        Fitted.
    levels_ : ndarray of shape (n_levels,)
        Levels in ordinal order, the columns of ``predict_set``.
    classes_ : ndarray of shape (n_levels,)
        Levels in the order of the columns of ``predict_proba``, sorted; only of a classifier.
    n_features_in_ : int
        Number of features, if the estimator knows it.
    feature_names_in_ : ndarray of str
        Names of the features, if the estimator knows them.

    See Also
    --------
    OrdinalCalibrator : Probabilities instead of sets.

    Notes
    -----
    ``alpha``, ``guarantee`` and ``max_levels`` can be changed after ``fit``, by ``set_params``.

    Coverage is a mean over speakers: there are some whose sets miss more often. Nothing is promised
    for recordings of another kind than those of ``fit``.

    A set holds the levels that are likely enough, those between them, and the level with the number
    of thresholds that are likely exceeded, so that it is never empty [4]_. An interval is the
    expected level more or less what the held-out recordings were wrong by, within the scale; errors
    count in standard deviations of the probabilities, so that it is wider where they are spread.

    With metadata routing ``groups`` are requested by default.

    References
    ----------
    .. [1] V. Vovk, A. Gammerman and G. Shafer, "Algorithmic learning in a random world", 2005.
    .. [2] Y. Lee, R. F. Barber and R. Willett, "Distribution-free inference with hierarchical
       data", 2023.
    .. [3] R. F. Barber, E. J. Candès, A. Ramdas and R. J. Tibshirani, "Predictive inference with
       the jackknife+", Annals of Statistics 49(1), 2021.
    .. [4] M. Sadinle, J. Lei and L. Wasserman, "Least ambiguous set-valued classifiers with bounded
       error levels", Journal of the American Statistical Association 114, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import OrdinalClassifier
    >>> from sklearn_speechsent.inspection import ConformalOrdinal
    >>> rng = np.random.default_rng(0)
    >>> y, speakers = np.tile([-1, 0, 1], 40), np.repeat(np.arange(12), 10)
    >>> X = y[:, None] + 0.8 * rng.normal(size=(120, 2))
    >>> model = ConformalOrdinal(OrdinalClassifier()).fit(X, y, groups=speakers)
    >>> model.predict_set([[-1.0, -1.0], [0.5, 0.6]])
    array([[ True, False, False],
           [False,  True,  True]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SpeakerwiseEstimator._parameter_constraints,
        "estimator": [HasMethods(["fit", "predict"])],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "method": [StrOptions({"base", "plus"})],
        "guarantee": ["boolean"],
        "max_levels": [Interval(Integral, 1, None, closed="left"), None],
        "calibration": ["array-like", None],
    }

    def __init__(
        self,
        estimator: Any,
        alpha: float = 0.1,
        *,
        method: str = "base",
        guarantee: bool = False,
        max_levels: int | None = None,
        cv: Any = None,
        calibration: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.method = method
        self.guarantee = guarantee
        self.max_levels = max_levels
        self.cv = cv
        self.calibration = calibration
        self.n_jobs = n_jobs
        self.verbose = verbose

    @reports_fit()
    # The estimator is checked by its own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, *, groups: Any = None) -> ConformalOrdinal:
        """Fit the estimator, and look at its errors on held-out speakers.

        Parameters
        ----------
        X : see the estimator
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Labels as the estimator takes them, an order of text included. Of votes, sets cover the
            median and intervals the mean.
        groups : array-like of shape (n,), optional
            Speakers. Without them every row counts as one, with a warning. They are also passed to
            the estimator, if it takes any.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data do not fit together, there are fewer than two speakers, ``cv`` has a speaker on
            both sides, or ``calibration`` names one that is not there, or all of them.

        Warns
        -----
        UserWarning
            Without ``groups``, and if a level is absent from the training part of a fold.
        """
        if self.max_levels is not None:
            _has_levels(self)
        if is_classifier(self.estimator) and not hasattr(self.estimator, "predict_proba"):
            raise ValueError(f"{self.estimator!r} has no predict_proba, which sets are made of.")
        plus = self.method == "plus"
        target, speakers, found = self._fit_apart(X, y, groups, keep=plus)
        self.__dict__.pop("classes_", None)  # of an earlier fit
        known = known_rows(found.values)
        values, target = found.values[known], target[known]
        truth = expected_level(target, self.levels_) if target.ndim == 2 else target
        if is_classifier(self.estimator):
            self.classes_ = np.sort(self.levels_)
            index = target_index(target, self.levels_)
            self._scores_ = nonconformity(values)[np.arange(len(index)), index]
            truth = (
                index
                if truth.dtype.kind == "U"
                else truth.clip(*level_values(self.levels_)[[0, -1]])
            )
        centre, spread = self._centre(values)
        self._residuals_ = np.abs(truth - centre) / spread
        _, place, counts = np.unique(speakers[known], return_inverse=True, return_counts=True)
        self._weights_ = 1 / (len(counts) * counts[place])
        self._n_speakers_ = len(counts)
        self._models_ = found.models if plus else [self.estimator_]
        self._owners_ = found.fold[known] if plus else np.zeros(len(values), dtype=np.intp)
        return self

    def _folds(self, speakers: NDArray[Any]) -> Any:
        """Folds of ``cv``, or the one of ``calibration``."""
        if self.calibration is None:
            return self.cv
        if self.cv is not None:
            raise ValueError("cv and calibration are two ways to hold speakers out: pass one.")
        calibration = np.asarray(self.calibration)
        absent = calibration[~np.isin(calibration, speakers)]
        held_out = np.isin(speakers, calibration)
        if len(absent) or held_out.all():
            wrong = f"{absent[:1].tolist()[0]!r} is not in groups" if len(absent) else "it is all"
            raise ValueError(
                f"calibration must name some of the speakers in groups, and {wrong}. Pass others, "
                "or leave it out for folds over all speakers."
            )
        return [(np.flatnonzero(~held_out), np.flatnonzero(held_out))]

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict as the estimator does.

        Parameters
        ----------
        X : see the estimator

        Returns
        -------
        ndarray of shape (n,)
            NaN where the set holds more than ``max_levels`` levels.
        """
        check_is_fitted(self, "estimator_")
        predicted = self.estimator_.predict(X)
        if self.max_levels is None:
            return predicted
        return nan_where(predicted, self.predict_set(X).sum(axis=1) > self.max_levels)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Probability of each level, as the estimator gives it.

        Parameters
        ----------
        X : see the estimator

        Returns
        -------
        ndarray of shape (n, n_levels)
            In the order of ``classes_``.
        """
        return self._values(X)[:, np.argsort(self.levels_)]

    @available_if(_has_levels)
    def predict_set(self, X: Any) -> NDArray[np.bool_]:
        """Levels that cannot be ruled out: neighbours, and at least one.

        Parameters
        ----------
        X : see the estimator

        Returns
        -------
        ndarray of bool of shape (n, n_levels)
            In the order of ``levels_``. Where the estimator gives NaN, no level is ruled out.
        """
        values = self._values(X)
        weight = np.zeros(values.shape)
        for number, model in enumerate(self._models_):
            own = np.flatnonzero(self._owners_ == number)
            own = own[np.argsort(self._scores_[own])]
            # Of the held-out recordings that conform as badly or worse.
            tail = np.append(np.cumsum(self._weights_[own][::-1])[::-1], 0)
            scores = nonconformity(self._values_of(model, X, values))
            weight += tail[np.searchsorted(self._scores_[own], scores)]
        found = weight > self._bound()
        known = known_rows(values)
        places = level_of(values[known], np.arange(len(self.levels_)))
        found[np.flatnonzero(known), places] = True
        up = np.maximum.accumulate(found, axis=1)
        down = np.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
        return up & down | ~known[:, np.newaxis]

    def predict_interval(self, X: Any) -> NDArray[np.float64]:
        """Interval of the intensity around its expected value.

        Parameters
        ----------
        X : see the estimator

        Returns
        -------
        ndarray of shape (n, 2)
            Lower and upper end, of a classifier within the scale; for text in positions, from 0.
            NaN where the estimator gives NaN; infinite where ``guarantee=True`` has too few
            speakers.
        """
        values = self._values(X)
        said = np.array([self._centre(self._values_of(m, X, values)) for m in self._models_])
        residuals, ends = self._residuals_[:, np.newaxis], []
        for rows in gen_batches(len(values), 1 + _PAIRS // len(residuals)):
            centre, spread = said[self._owners_, :, rows].swapaxes(0, 1)
            reach = residuals * spread
            ends.append(np.stack([-self._limit(reach - centre), self._limit(centre + reach)], 1))
        scale = level_values(self.levels_)
        found = np.concatenate(ends)
        return np.clip(found, scale[0], scale[-1]) if is_classifier(self.estimator) else found

    def _values_of(self, model: Any, X: Any, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """What a model says about rows; ``values`` are those of ``estimator_``."""
        return values if model is self.estimator_ else predicted_values(model, X, self.levels_)

    def _centre(
        self, values: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Expected intensity, and the unit of its errors: the deviation of the probabilities."""
        if values.shape[1] == 1:
            return values[:, 0], np.ones(len(values))
        steps, expected = level_values(self.levels_), expected_level(values, self.levels_)
        variance = np.maximum(values @ steps**2 - expected**2, 0)
        # A level stands for all intensities that are nearest to it.
        return expected, np.sqrt(variance + np.diff(steps).mean() ** 2 / 12)

    def _bound(self) -> float:
        """Weight that held-out recordings must exceed, which is 1 for all of them."""
        following = 1 / (self._n_speakers_ if self.guarantee else len(self._weights_))
        # The next recording conforms as badly as itself. Rounding must not decide.
        return self.alpha * (1 + following) - following + 1e-12

    def _limit(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Largest number that values of enough weight reach, shape (n,) for (n_held_out, n)."""
        if self._bound() < 0:
            return np.where(np.isnan(values[0]), np.nan, np.inf)
        order = np.argsort(-values, axis=0)
        reached = np.cumsum(self._weights_[order], axis=0) > self._bound()
        place = np.take_along_axis(order, reached.argmax(axis=0)[np.newaxis], 0)
        return np.take_along_axis(values, place, 0)[0]
