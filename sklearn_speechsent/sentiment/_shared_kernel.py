"""One kernel matrix for the support vector classifiers of all thresholds."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.pipeline import Pipeline
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

from sklearn_speechsent.utils.sklearn_compat import Interval, StrOptions, fit_context

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
