"""Ordinal classification with one binary classifier per threshold."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.dummy import DummyClassifier
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.utils import gen_batches, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_speechsent.metrics.levels import nan_where
from sklearn_speechsent.sentiment.labels import (
    find_levels,
    label_index,
    warn_left_out,
)
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.estimators import EstimatorMixin
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    check_method_params,
    fit_context,
    routing_enabled,
)

#: Defaults of the classifier's C and gamma.
_C, _GAMMA = 10.0, 0.25
#: Bytes of the largest kernel that is shared, which has 16,384 rows.
_LARGEST = 2**31
#: Rows that are predicted at a time with a shared kernel: 16,384 columns of them take 128 MiB.
_ROWS = 1024
#: Not linear: a precomputed kernel would leave a linear classifier without coefficients.
_KERNELS = ("rbf", "poly", "sigmoid")
#: Steps that ignore the labels, and so are the same for all thresholds.
_UNSUPERVISED = (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)


class _TrainingKernel(TransformerMixin, BaseEstimator):
    """Kernel between rows and the training set, for ``SVC(kernel="precomputed")``.

    It is one product of matrices in double precision, where libsvm computes pair by pair.

    Parameters
    ----------
    kernel : {"rbf", "poly", "sigmoid"}, default="rbf"
    gamma : {"scale", "auto"} or float, default="scale"
    degree : int, default=3
    coef0 : float, default=0.0
        As in :class:`~sklearn.svm.SVC`.

    Attributes
    ----------
    rows_ : ndarray of shape (n, n_features)
        The training set.
    gamma_ : float
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "kernel": [StrOptions(set(_KERNELS))],
        "gamma": [StrOptions({"scale", "auto"}), Interval(Real, 0.0, None, closed="left")],
        "degree": [Interval(Integral, 0, None, closed="left")],
        "coef0": [Interval(Real, None, None, closed="neither")],
    }

    def __init__(
        self,
        kernel: str = "rbf",
        *,
        gamma: float | str = "scale",
        degree: int = 3,
        coef0: float = 0.0,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> _TrainingKernel:
        """Store the training set.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        self.rows_ = np.asarray(X)
        self.gamma_ = self.gamma
        if isinstance(self.gamma, str):
            variance = self.rows_.var(dtype=np.float64) if self.gamma == "scale" else 1.0
            self.gamma_ = 1.0 / (self.rows_.shape[1] * variance) if variance else 1.0
        return self

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Store the training set and return its kernel with itself.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        y : None
            Ignored.

        Returns
        -------
        ndarray of shape (n, n)
        """
        return self.fit(X).transform(self.rows_)

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Kernel with the training set.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n)
        """
        rows = self.rows_.astype(np.float64, copy=False)
        # The product of a matrix with itself takes half the time.
        X = rows if X is self.rows_ else np.asarray(X, dtype=np.float64)
        return pairwise_kernels(
            X,
            rows,
            metric=self.kernel,
            filter_params=True,
            gamma=self.gamma_,
            degree=self.degree,
            coef0=self.coef0,
        )


def _split_at_kernel(estimator: Any, X: Any) -> tuple[Pipeline, tuple[str, SVC]] | None:
    """Split a classifier into steps that all thresholds share and one that learns each threshold.

    Parameters
    ----------
    estimator : classifier
    X : ndarray or sparse matrix of shape (n, n_features)
        The training set.

    Returns
    -------
    shared : Pipeline
        From rows to their kernel with the training set.
    last : tuple of str and SVC
        Name of the last step, and the classifier on the kernel. Neither part is fitted.

    Notes
    -----
    None is returned, instead of the two, unless the classifier is a :class:`~sklearn.svm.SVC` with
    a kernel that is not linear, alone or after scalers in a Pipeline; for sparse rows; and where
    the kernel would take more than 2 GiB.
    """
    steps = estimator.steps if type(estimator) is Pipeline else [("svc", estimator)]
    *scalers, (name, svc) = steps
    if type(svc) is not SVC or svc.kernel not in _KERNELS:
        return None
    if not isinstance(X, np.ndarray) or 8 * len(X) ** 2 > _LARGEST:
        return None
    if not all(type(step) in _UNSUPERVISED or step in ("passthrough", None) for _, step in scalers):
        return None
    kernel = _TrainingKernel(svc.kernel, gamma=svc.gamma, degree=svc.degree, coef0=svc.coef0)
    shared = clone(Pipeline([*scalers, ("trainingkernel", kernel)]))
    return shared, (name, clone(svc).set_params(kernel="precomputed"))


def _fit_threshold(
    estimator: Any, X: NDArray[Any], above: NDArray[np.bool_], fit_params: dict[str, Any]
) -> Any:
    """Fit a classifier of "above the threshold"; a constant one if all labels are on one side."""
    if above.all() or not above.any():
        return DummyClassifier(strategy="constant", constant=bool(above[0])).fit(X, above)
    return clone(estimator).fit(X, above, **fit_params)


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


class OrdinalClassifier(EstimatorMixin, MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
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
    levels : array-like of numbers, optional
        The scale. By default the levels that occur in ``y``; pass it where a fold may lack one.
    on_error : {"raise", "nan"}, default="raise"
        What to do with rows that hold NaN, as those of recordings that could not be used. ``"nan"``
        predicts NaN for them, and ``fit`` leaves them out with a warning that counts them.
    n_jobs : int, optional
        Threads over thresholds.

    Attributes
    ----------
    levels_ : ndarray of shape (n_levels,)
        Levels in ordinal order.
    classes_ : ndarray of shape (n_levels,)
        Levels in ascending order, as in the columns of ``predict_proba``; for numbers the same as
        ``levels_``.
    estimators_ : list of classifiers
        Fitted clones of ``estimator``, one per threshold, from the lowest to the highest.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, only if ``X`` had string column names.

    Notes
    -----
    Real labels count as the nearest level, see
    :func:`~sklearn_speechsent.metrics.round_to_levels`.

    Support vector classifiers with a kernel that is not linear (:class:`~sklearn.svm.SVC` alone, or
    after scalers of :mod:`sklearn.preprocessing` in a Pipeline) compute it once for all thresholds,
    in ``fit`` and in ``predict``: ``estimators_`` are then Pipelines that end in an ``SVC`` of
    precomputed kernels. Decisions are the same; the kernel takes eight bytes of memory for each
    pair of rows. Above 16,384 rows (2 GiB), for sparse rows, and if ``fit`` is given anything but
    ``X`` and ``y``, each classifier computes its own.

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

    _parameter_constraints: dict[str, list[Any]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "C": [Interval(Real, 0.0, None, closed="neither")],
        "gamma": [Interval(Real, 0.0, None, closed="neither")],
        "levels": ["array-like", None],
        "on_error": [StrOptions({"raise", "nan"})],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        C: float = _C,
        gamma: float = _GAMMA,
        levels: Any = None,
        on_error: str = "raise",
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.C = C
        self.gamma = gamma
        self.levels = levels
        self.on_error = on_error
        self.n_jobs = n_jobs

    def _estimator(self, n_features: int = 1) -> Any:
        if self.estimator is not None:
            return self.estimator
        # The seed changes nothing, but without one, fit would advance NumPy's global generator.
        svc = SVC(C=self.C, gamma=self.gamma / n_features, class_weight="balanced", random_state=0)
        return make_pipeline(StandardScaler(), svc)

    def _check_estimator(self) -> None:
        """Refuse parameters of the default estimator next to another one."""
        given = {"C": (self.C, _C), "gamma": (self.gamma, _GAMMA)}
        changed = [
            f"{name}={value}" for name, (value, default) in given.items() if value != default
        ]
        if self.estimator is not None and changed:
            raise ValueError(
                f"{' and '.join(changed)} would be ignored: C and gamma belong to the default "
                f"estimator, and estimator={self.estimator!r} was given. Set its own parameters "
                "(estimator__… in set_params and searches), or leave out estimator."
            )

    @reports_fit()
    # The binary classifiers are checked by their own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, **fit_params: Any) -> OrdinalClassifier:
        """Fit one classifier per threshold.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        y : array-like of shape (n,)
            Levels; real labels are rounded to the nearest one.
        **fit_params : dict
            Passed to every classifier's ``fit``; through metadata routing if that is enabled.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``y`` has a single level or a label off the given ``levels``, or if ``C`` or
            ``gamma`` is changed next to ``estimator``.
        """
        self._check_estimator()
        X, y = self._validate(X, y)
        if fit_params and routing_enabled():
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        good = ~self._unusable(X)
        if not good.all():
            X, y = X[good], y[good]
            fit_params = check_method_params(good, fit_params, np.flatnonzero(good))
            warn_left_out(int((~good).sum()), len(good))
        levels = find_levels(y, self.levels)
        index = label_index(y, levels)
        estimator = self._estimator(X.shape[1])
        # Rows of weight zero change the numbers of support vectors, which index the kernel.
        split = None if fit_params else _split_at_kernel(estimator, X)
        self._shared_ = None
        if split is not None:
            self._shared_, (name, estimator) = split
            X = self._shared_.fit_transform(X)
        fitted = joblib.Parallel(n_jobs=self.n_jobs, prefer="threads")(
            joblib.delayed(_fit_threshold)(estimator, X, index > k, fit_params)
            for k in range(len(levels) - 1)
        )
        if self._shared_ is not None:
            fitted = [Pipeline([*self._shared_.steps, (name, last)]) for last in fitted]
        self.estimators_ = fitted
        self.levels_ = self.classes_ = levels
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Level of each row: the number of thresholds exceeded.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
            Values of ``levels_``; with ``on_error="nan"`` NaN for rows that hold NaN.
        """
        scores, bounds = self._threshold_scores(X)
        levels = self.levels_[(scores > bounds).sum(axis=1)]
        return nan_where(levels, np.isnan(scores).any(axis=1))

    @available_if(_soft)
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each level.

        Differences of the thresholds' probabilities. Independent classifiers need not keep these in
        order: they are sorted to decrease [2]_, which does not change the number of those above
        one half, and so the predicted level. Signed distances ``d`` of a classifier without
        probabilities count as ``1 / (1 + exp(-2 d))``, which ranks well but is not calibrated;
        wrap the classifier in :class:`~sklearn.calibration.CalibratedClassifierCV` for more.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_levels)
            Rows sum to 1; with ``on_error="nan"`` NaN for rows that hold NaN.
        """
        scores, bounds = self._threshold_scores(X)
        above = np.where(bounds > 0, scores, expit(2 * scores))
        above = -np.sort(-above, axis=1)
        edges = np.pad(above, ((0, 0), (1, 0)), constant_values=1.0)
        edges = np.pad(edges, ((0, 0), (0, 1)), constant_values=0.0)
        return edges[:, :-1] - edges[:, 1:]

    def _threshold_scores(self, X: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Scores of shape (n, n_thresholds), and what those of each threshold have to exceed."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        bounds = np.array([0.0 if _gives_distances(e) else 0.5 for e in self.estimators_])
        good = ~self._unusable(X)
        if good.all():
            return self._good_scores(X), bounds
        scores = np.full((len(good), len(bounds)), np.nan)
        if good.any():
            scores[good] = self._good_scores(X[good])
        return scores, bounds

    def _good_scores(self, X: NDArray[Any]) -> NDArray[Any]:
        if self._shared_ is None:
            return self._scores(self.estimators_, X)
        last_steps = [pipeline[-1] for pipeline in self.estimators_]
        blocks = [
            self._scores(last_steps, self._shared_.transform(X[rows]))
            for rows in gen_batches(len(X), _ROWS)
        ]
        return np.concatenate(blocks)

    def _unusable(self, X: Any) -> NDArray[np.bool_]:
        """Rows that hold NaN, where these are not an error."""
        if self.on_error == "raise":
            return np.zeros(X.shape[0], dtype=bool)
        return np.isnan(np.asarray(X.sum(axis=1), dtype=np.float64).ravel())

    def _scores(self, estimators: list[Any], X: NDArray[Any]) -> NDArray[Any]:
        scores = joblib.Parallel(n_jobs=self.n_jobs, prefer="threads")(
            joblib.delayed(_scores)(estimator, X) for estimator in estimators
        )
        return np.stack(scores, axis=1)

    def _validate(self, *data: Any, reset: bool = True) -> Any:
        accepted = get_tags(self).input_tags
        return validate_data(
            self,
            *data,
            reset=reset,
            accept_sparse="csr" if accepted.sparse else False,
            ensure_all_finite=(
                "allow-nan" if accepted.allow_nan or self.on_error == "nan" else True
            ),
        )

    def get_metadata_routing(self) -> MetadataRouter:
        """Route what ``fit`` is given to the binary classifiers.

        Returns
        -------
        MetadataRouter
        """
        return MetadataRouter(owner=self).add(
            estimator=self._estimator(),
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self._estimator())
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags
