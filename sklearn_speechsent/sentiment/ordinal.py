"""Ordinal classification with one binary classifier per threshold."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.utils import gen_batches
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.metrics.exact import level_accuracy
from sklearn_speechsent.metrics.levels import nan_where
from sklearn_speechsent.metrics.scale import read_target, target_shares
from sklearn_speechsent.metrics.votes import share_above
from sklearn_speechsent.sentiment.kernel_machine import KernelClassifier, without_libsvm
from sklearn_speechsent.sentiment.labels import check_scale, find_levels
from sklearn_speechsent.sentiment.nan_rows import warn_nan
from sklearn_speechsent.sentiment.shared_kernel import split_at_kernel
from sklearn_speechsent.sentiment.tables import TableEstimator
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.estimators import addressed_weight, final_step
from sklearn_speechsent.utils.sklearn_compat import check_method_params, fit_context

#: Rows that are predicted at a time with a shared kernel: 16,384 columns of them take 128 MiB.
_ROWS = 1024


def _fit_threshold(
    estimator: Any, X: NDArray[Any], share: NDArray[np.float64], fit_params: dict[str, Any]
) -> Any:
    """Fit a classifier of "above the threshold"; a constant one if all votes are on one side.

    A row whose votes are divided comes twice, once on each side, with its shares as weights.
    """
    above = share > 0
    divided = np.flatnonzero(above & (share < 1))
    if not len(divided):
        if above.all() or not above.any():
            return DummyClassifier(strategy="constant", constant=bool(above[0])).fit(X, above)
        return clone(estimator).fit(X, above, **fit_params)
    rows = np.concatenate([np.arange(len(share)), divided])
    weight = np.concatenate([np.where(above, share, 1.0), 1 - share[divided]])
    above = np.concatenate([above, np.zeros(len(divided), dtype=bool)])
    estimator = clone(estimator)
    kernel = type(estimator) is KernelClassifier
    balance = f"{'machine__' if kernel else final_step(estimator)[0]}class_weight"
    if estimator.get_params().get(balance) == "balanced":
        # By what most annotators chose: balancing the votes would predict what few of them chose.
        weight *= compute_sample_weight("balanced", share > 0.5)[rows]
        estimator.set_params(**{balance: None})
    if kernel:
        return estimator.fit(X, above, weight, rows)
    fit_params = check_method_params(X, fit_params, rows)
    name = next(iter(addressed_weight(estimator, weight)))
    fit_params[name] = weight * fit_params.get(name, 1.0)
    return estimator.fit(X[rows], above, **fit_params)


def _gives_distances(estimator: Any) -> bool:
    """Whether scores are signed distances and not probabilities."""
    return hasattr(estimator, "decision_function")


def _scores(estimator: Any, X: NDArray[Any]) -> NDArray[Any]:
    """Score of "above the threshold" of each row."""
    if _gives_distances(estimator):
        return np.ravel(estimator.decision_function(X))
    if hasattr(estimator, "predict_proba"):
        proba = estimator.predict_proba(X)
        # A constant classifier has one class only.
        above = np.flatnonzero(estimator.classes_)
        return proba[:, above[0]] if len(above) else np.zeros(len(proba))
    return np.asarray(estimator.predict(X), dtype=float)


def _soft(classifier: OrdinalClassifier) -> bool:
    estimator = classifier._estimator()
    if not (hasattr(estimator, "predict_proba") or hasattr(estimator, "decision_function")):
        raise AttributeError(f"{estimator!r} has neither predict_proba nor decision_function.")
    return True


class OrdinalClassifier(ClassifierMixin, TableEstimator):
    """Levels of an ordinal scale by one binary classifier per threshold.

    For K levels, K - 1 clones of ``estimator`` each learn whether the level lies above one
    threshold, after Frank and Hall [1]_; the predicted level is the number of thresholds that are
    exceeded. It is the counterpart of the CORAL head without a network.

    Parameters
    ----------
    estimator : classifier, optional
        Binary classifier. By default standardised features and a class-balanced support vector
        classifier with a radial kernel, which does well on pooled maps of a speaker network.
    C : float, default=10.0
        Inverse strength of regularisation of the default estimator. With ``estimator``, set its own
        (``estimator__C``): another value here is an error.
    gamma : float, default=0.25
        Width of the radial kernel of the default estimator, in units of one over the number of
        features: ``SVC(gamma=gamma / n_features)``. An error next to ``estimator``, like ``C``.
    n_components : int, optional
        Principal components of the standardised features that the kernel of the default estimator
        sees; where there are fewer rows, their number. None takes all features as they are. An
        error next to ``estimator``, like ``C``.
    levels : array-like, optional
        The scale: numbers, or text from the lowest to the highest level. By default the order of
        ``y`` if that is an ordered category, its columns if it is a table of votes, otherwise the
        whole numbers that labels are nearest to; pass it where a fold may lack a level, and where
        the scale is not of whole numbers.
    on_error : {"raise", "nan"}, default="raise"
        What to do with rows of NaN, as those of recordings that cannot be used or hold no speech.
        With ``"nan"`` a level of NaN is predicted for them, and ``fit`` leaves them out with a
        warning that counts them; otherwise both are errors that name the rows. Probabilities are
        NaN in either case. NaN among numbers goes where ``estimator`` takes it; otherwise it is an
        error with ``"raise"`` and the same as a row of NaN with ``"nan"``.
    n_jobs : int, optional
        Threads over thresholds.

    Attributes
    ----------
    levels_ : ndarray of shape (n_levels,)
        Levels in ordinal order.
    classes_ : ndarray of shape (n_levels,)
        Levels in the order of the columns of ``predict_proba``: sorted, as everywhere in
        scikit-learn. For numbers the same as ``levels_``, for text alphabetical.
    estimators_ : list of classifiers
        Fitted clones of ``estimator``, one per threshold, from the lowest to the highest.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, only if ``X`` had string column names.

    See Also
    --------
    IntensityRegressor : The same features, real numbers.
    OrdinalVotingClassifier : A vote of several.
    SpeechSentimentClassifier : A network with an ordinal head.

    Notes
    -----
    Real labels count as the nearest level, see
    :func:`~sklearn_speechsent.metrics.round_to_levels`.

    Of a table of votes each threshold learns how many of the votes lie above it: a row whose votes
    are divided comes twice, once on either side, with its shares as weights, and a row whose votes
    agree comes once. All rows count alike, with however few votes;
    ``sample_weight=y.sum(axis=1)`` weights them by their votes. ``class_weight="balanced"``, as in
    the default estimator, balances rows by the side on which most of their votes are.

    With metadata routing, ``set_fit_request(sample_weight=True)`` asks for weights; if that is not
    set, the request of ``estimator`` counts.

    Support vector classifiers with a kernel that is not linear (:class:`~sklearn.svm.SVC` alone, or
    after scalers and :class:`~sklearn.decomposition.PCA` in a Pipeline) compute it once for all
    thresholds, in ``fit`` and in ``predict``: ``estimators_`` are then Pipelines that end in the
    kernel with the rows that support a threshold and a weighted sum of it, in NumPy. Decisions are
    the same; in ``fit`` the kernel takes eight bytes of memory for each pair of rows. Above 16,384
    rows (2 GiB), for sparse rows, and if ``fit`` is given anything but ``X`` and ``y``, each
    classifier computes its own (then scalers see the rows whose votes are divided twice). The
    default estimator predicts in NumPy in either case.

    References
    ----------
    .. [1] E. Frank and M. Hall, "A simple approach to ordinal classification", ECML 2001.
    .. [2] V. Chernozhukov, I. Fernández-Val and A. Galichon, "Quantile and probability curves
       without crossing", Econometrica 78, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_speechsent import OrdinalClassifier
    >>> X = np.linspace(-3, 3, 60)[:, None]
    >>> y = np.rint(X.ravel())
    >>> model = OrdinalClassifier(LogisticRegression(C=100)).fit(X, y)
    >>> model.predict([[-2.9], [0.1], [2.0]])
    array([-3.,  0.,  2.])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TableEstimator._parameter_constraints,
        "levels": ["array-like", None],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        C: float = 10.0,
        gamma: float = 0.25,
        n_components: int | None = None,
        levels: Any = None,
        on_error: str = "raise",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator, C=C, gamma=gamma, n_components=n_components, on_error=on_error)
        self.levels = levels
        self.n_jobs = n_jobs

    def _machine(self, gamma: float, y: NDArray[Any]) -> SVC:
        # The seed changes nothing, but without one, fit would advance NumPy's global generator.
        return SVC(C=self.C, gamma=gamma, class_weight="balanced", random_state=0)

    @reports_fit()
    # The binary classifiers are checked by their own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any
    ) -> OrdinalClassifier:
        """Fit one classifier per threshold.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Levels: numbers, of which real ones are rounded to the nearest level, an ordered
            category of pandas, or text of which ``levels`` gives the order. Or how many
            annotators, or which share, chose each level: a DataFrame with columns named after the
            levels, or an array with columns in the order of ``levels``.
        sample_weight : array-like of shape (n,), optional
            Passed to every classifier, or to the last step of every Pipeline, whatever its own
            ``class_weight`` is. Rows of weight zero are left out.
        **fit_params : dict
            Passed to every classifier's ``fit``; through metadata routing if that is enabled.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``y`` has a single level, text without an order, a label off the scale or votes that
            cannot be used, if rows are NaN and ``on_error="raise"``, if weights are negative, all
            zero or not taken by ``estimator`` (divided votes need them), or if ``C``, ``gamma`` or
            ``n_components`` is changed next to ``estimator``.
        """
        y, scale = read_target(y, self.levels, warn=True)
        check_scale(y, scale)
        X, y, fit_params = self._training_data(X, y, sample_weight, fit_params)
        levels = find_levels(y, scale)
        above = share_above(target_shares(y, levels))
        divided = (above > 0) & (above < 1)
        estimator = self._estimator(X)
        if divided.any():
            self._check_takes_weights(estimator)
        n_labels = len(above) + int(divided.sum(axis=0).max())
        # Rows of weight zero change the numbers of support vectors, which index the kernel.
        split = None if fit_params else split_at_kernel(estimator, X, n_labels)
        self._shared_ = None
        if split is not None:
            self._shared_, (name, estimator) = split
            X = self._shared_.fit_transform(X)
        fitted = joblib.Parallel(n_jobs=self.n_jobs, prefer="threads")(
            joblib.delayed(_fit_threshold)(estimator, X, share, fit_params) for share in above.T
        )
        if self._shared_ is not None:
            # Constant thresholds have no support.
            self._shared_[-1].keep([last for last in fitted if type(last) is KernelClassifier])
            fitted = [Pipeline([*self._shared_.steps, (name, last)]) for last in fitted]
        elif self.estimator is None:
            fitted = [without_libsvm(each) for each in fitted]
        self.estimators_ = fitted
        self.levels_, self.classes_ = levels, np.sort(levels)
        return self

    @staticmethod
    def _check_takes_weights(estimator: Any) -> None:
        try:
            addressed_weight(estimator, None)
        except ValueError as error:
            raise ValueError(
                "y is a table of votes, some of which are divided: their shares are weights, and "
                f"{error} Or fit it on one level for each row."
            ) from error

    def predict(self, X: Any) -> NDArray[Any]:
        """Level of each row: the number of thresholds exceeded.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
            Values of ``levels_``; with ``on_error="nan"`` NaN for rows of NaN.

        Raises
        ------
        ValueError
            If rows are NaN and ``on_error="raise"``; the message names them.
        """
        scores, bounds = self._threshold_scores(X)
        levels = self.levels_[(scores > bounds).sum(axis=1)]
        return nan_where(levels, np.isnan(scores).any(axis=1), self.on_error)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy; real labels count as the nearest level, votes as their median.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            As in ``fit``. Labels off the scale count as wrong.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If rows are NaN; the message names them.
        """
        given = self.levels is not None
        return level_accuracy(y, self.predict(X), self.levels_, sample_weight, given=given)

    @available_if(_soft)
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each level.

        Differences of the thresholds' probabilities. Independent classifiers need not keep these in
        order: they are sorted to decrease, which does not change the number of those above
        one half, and so the predicted level. Signed distances ``d`` of a classifier without
        probabilities count as ``1 / (1 + exp(-2 d))``, which ranks well but is not calibrated;
        wrap the classifier in :class:`~sklearn.calibration.CalibratedClassifierCV` for more.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_levels)
            In the order of ``classes_``. Rows sum to 1; NaN for rows of NaN, with a warning if
            ``on_error="raise"``.
        """
        scores, bounds = self._threshold_scores(X)
        above = np.where(bounds > 0, scores, expit(2 * scores))
        above = -np.sort(-above, axis=1)
        edges = np.pad(above, ((0, 0), (1, 0)), constant_values=1.0)
        edges = np.pad(edges, ((0, 0), (0, 1)), constant_values=0.0)
        proba = edges[:, :-1] - edges[:, 1:]
        return warn_nan(proba[:, np.argsort(self.levels_)], self.on_error)

    def _threshold_scores(self, X: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Scores of shape (n, n_thresholds), and what those of each threshold have to exceed."""
        check_is_fitted(self)
        bounds = np.array([0.0 if _gives_distances(e) else 0.5 for e in self.estimators_])
        return self._outputs(X, len(bounds), self._good_scores), bounds

    def _good_scores(self, X: NDArray[Any]) -> NDArray[Any]:
        if self._shared_ is None:
            return self._scores(self.estimators_, X)
        last_steps = [pipeline[-1] for pipeline in self.estimators_]
        blocks = [
            self._scores(last_steps, self._shared_.transform(X[rows]))
            for rows in gen_batches(len(X), _ROWS)
        ]
        return np.concatenate(blocks)

    def _scores(self, estimators: list[Any], X: NDArray[Any]) -> NDArray[Any]:
        scores = joblib.Parallel(n_jobs=self.n_jobs, prefer="threads")(
            joblib.delayed(_scores)(estimator, X) for estimator in estimators
        )
        return np.stack(scores, axis=1)
