"""Ordinal classification by thresholds, for any binary classifier."""

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

from sklearn_speechsent.sentiment.labels import find_levels, label_index
from sklearn_speechsent.utils.callbacks import CallbackSupportMixin, reports_fit
from sklearn_speechsent.utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    routing_enabled,
)

#: A matrix of more bytes is not made: that of 16,384 rows has so many.
_LARGEST = 2**31
#: A linear classifier keeps its coefficients, which one of precomputed kernels would not have.
_KERNELS = ("rbf", "poly", "sigmoid")
#: Steps that pay no attention to the labels, and so are the same for all thresholds.
_BLIND = (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)


class TrainingKernel(TransformerMixin, BaseEstimator):
    """Kernel between rows and those of the training set, for ``SVC(kernel="precomputed")``.

    One product of matrices in double precision, where libsvm takes pair by pair.

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
    def fit(self, X: Any, y: Any = None) -> TrainingKernel:
        """Keep the training set.

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
        """Keep the training set, and give its kernel with itself.

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
        """Give the kernel with the training set.

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


def split_at_kernel(estimator: Any, X: Any) -> tuple[Pipeline, tuple[str, SVC]] | None:
    """Cut a classifier in two, so that the first part is the same for all thresholds.

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
        Name of the last step, and what learns from the kernel. Both parts are yet to be fitted.

    Notes
    -----
    It is None, instead of the two, for all but a :class:`~sklearn.svm.SVC` with a curved kernel,
    on its own or behind scalers in a Pipeline; for sparse rows, and for so many that their kernel
    would take more than 2 GiB.
    """
    steps = estimator.steps if type(estimator) is Pipeline else [("svc", estimator)]
    *scalers, (name, svc) = steps
    if type(svc) is not SVC or svc.kernel not in _KERNELS:
        return None
    if not isinstance(X, np.ndarray) or 8 * len(X) ** 2 > _LARGEST:
        return None
    if not all(type(step) in _BLIND or step in ("passthrough", None) for _, step in scalers):
        return None
    kernel = TrainingKernel(svc.kernel, gamma=svc.gamma, degree=svc.degree, coef0=svc.coef0)
    shared = clone(Pipeline([*scalers, ("trainingkernel", kernel)]))
    return shared, (name, clone(svc).set_params(kernel="precomputed"))


#: Rows that are predicted at a time where a kernel is shared: one of 16,384 columns has 128 MiB.
_ROWS = 1024


def _fit_threshold(
    estimator: Any, X: NDArray[Any], above: NDArray[np.bool_], fit_params: dict[str, Any]
) -> Any:
    """Classifier of "above the threshold"; a constant where nothing or all lies above it."""
    if above.all() or not above.any():
        return DummyClassifier(strategy="constant", constant=bool(above[0])).fit(X, above)
    return clone(estimator).fit(X, above, **fit_params)


def _gives_distances(estimator: Any) -> bool:
    """Whether scores are signed distances; else they are probabilities."""
    return hasattr(estimator, "decision_function")


def _scores(estimator: Any, X: NDArray[Any]) -> NDArray[Any]:
    """Score of "above the threshold" of each row."""
    if _gives_distances(estimator):
        return np.ravel(estimator.decision_function(X))
    if hasattr(estimator, "predict_proba"):
        proba = estimator.predict_proba(X)
        # A constant classifier knows one class only.
        above = np.flatnonzero(estimator.classes_)
        return proba[:, above[0]] if len(above) else np.zeros(len(proba))
    return np.asarray(estimator.predict(X), dtype=float)


def _soft(classifier: OrdinalClassifier) -> bool:
    estimator = classifier._estimator()
    if not (hasattr(estimator, "predict_proba") or hasattr(estimator, "decision_function")):
        raise AttributeError(f"{estimator!r} has neither predict_proba nor decision_function.")
    return True


class OrdinalClassifier(CallbackSupportMixin, MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Levels of an ordinal scale by one binary classifier per threshold.

    For K levels, K - 1 clones of ``estimator`` each learn whether the level lies above one
    threshold, after Frank and Hall [1]_; the predicted level is the number of thresholds that are
    exceeded. It is the non-neural twin of the CORAL head.

    Parameters
    ----------
    estimator : classifier, optional
        Binary classifier. By default standardised features and a class-balanced support vector
        classifier with a smooth kernel (radial, ``C=10``, gamma a quarter of one over the number of
        features), which does well on pooled maps of a speaker network.
    levels : array-like of numbers, optional
        The scale. By default the levels that occur in ``y``; pass it where a fold may lack one.
    n_jobs : int, optional
        Threads over thresholds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_levels,)
        Levels in ascending order.
    estimators_ : list of classifiers
        One per threshold.
    shared_ : Pipeline or None
        Steps that the Pipelines in ``estimators_`` have in common, from features to a kernel.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if ``X`` had string column names.

    Notes
    -----
    Real labels count as the nearest level, halves to even.

    Support vector classifiers with a curved kernel (:class:`~sklearn.svm.SVC` alone, or behind
    scalers of :mod:`sklearn.preprocessing` in a Pipeline) compute it once for all thresholds, when
    they are fitted and when they predict: ``estimators_`` are then Pipelines that end in an ``SVC``
    of precomputed kernels. Decisions are the same; eight bytes for each pair of rows have to fit
    into memory. Above 16,384 rows (2 GiB), for sparse rows, and if ``fit`` is given anything but
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
        "levels": ["array-like", None],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self, estimator: Any = None, *, levels: Any = None, n_jobs: int | None = None
    ) -> None:
        self.estimator = estimator
        self.levels = levels
        self.n_jobs = n_jobs

    def _estimator(self, n_features: int = 1) -> Any:
        if self.estimator is not None:
            return self.estimator
        # The seed changes nothing; without one, fit would advance NumPy's global generator.
        svc = SVC(C=10.0, gamma=0.25 / n_features, class_weight="balanced", random_state=0)
        return make_pipeline(StandardScaler(), svc)

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
            If ``y`` has a single level, or a label off the given ``levels``.
        """
        X, y = self._validate(X, y)
        levels = find_levels(y, self.levels)
        index = label_index(y, levels)
        if fit_params and routing_enabled():
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        estimator = self._estimator(X.shape[1])
        # Weights of zero confuse the numbers of support vectors, by which kernels are looked up.
        split = None if fit_params else split_at_kernel(estimator, X)
        self.shared_ = None
        if split is not None:
            self.shared_, (name, estimator) = split
            X = self.shared_.fit_transform(X)
        fitted = joblib.Parallel(n_jobs=self.n_jobs, prefer="threads")(
            joblib.delayed(_fit_threshold)(estimator, X, index > k, fit_params)
            for k in range(len(levels) - 1)
        )
        if self.shared_ is not None:
            fitted = [Pipeline([*self.shared_.steps, (name, last)]) for last in fitted]
        self.estimators_ = fitted
        self.classes_ = levels
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Level of each row: the number of thresholds exceeded.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
            Values of ``classes_``.
        """
        scores, bounds = self._threshold_scores(X)
        return self.classes_[(scores > bounds).sum(axis=1)]

    @available_if(_soft)
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each level.

        Differences of the thresholds' probabilities, which independent classifiers need not put in
        order: they are rearranged to decrease [2]_, which leaves the number of those above one
        half, and so the predicted level, as it is. Signed distances ``d`` of a classifier without
        probabilities count as ``1 / (1 + exp(-2 d))``, which ranks well but is not calibrated;
        wrap the classifier in :class:`~sklearn.calibration.CalibratedClassifierCV` for more.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_levels)
            Rows sum to 1.
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
        estimators = self.estimators_
        bounds = np.array([0.0 if _gives_distances(e) else 0.5 for e in estimators])
        if self.shared_ is None:
            return self._scores(estimators, X), bounds
        last_steps = [pipeline[-1] for pipeline in estimators]
        blocks = [
            self._scores(last_steps, self.shared_.transform(X[rows]))
            for rows in gen_batches(len(X), _ROWS)
        ]
        return np.concatenate(blocks), bounds

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
            ensure_all_finite="allow-nan" if accepted.allow_nan else True,
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
