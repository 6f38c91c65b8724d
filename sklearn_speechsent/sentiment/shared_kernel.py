"""Kernel of support vector classifiers that all thresholds share."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
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

#: Bytes of the largest kernel that is shared, which has 16,384 rows.
_LARGEST = 2**31
#: Not linear: a precomputed kernel would leave a linear classifier without coefficients.
_KERNELS = ("rbf", "poly", "sigmoid")
#: Steps that ignore the labels, and so are the same for all thresholds.
_UNSUPERVISED = (
    PCA,
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


def split_at_kernel(estimator: Any, X: Any) -> tuple[Pipeline, tuple[str, SVC]] | None:
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
    a kernel that is not linear, alone or after scalers and PCA in a Pipeline; for sparse rows; and
    where the kernel would take more than 2 GiB.
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
