"""Support vector machines that predict with NumPy, from the rows that support them."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, SVR
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.utils.estimators import EstimatorMixin
from sklearn_speechsent.utils.sklearn_compat import Interval, StrOptions, fit_context

#: Kernels of :class:`SupportKernel`.
KERNELS = ("linear", "poly", "rbf", "sigmoid")


class SupportKernel(EstimatorMixin, TransformerMixin, BaseEstimator):
    """Kernel between rows and the training set, or the part of it that supports decisions.

    It is one product of matrices in double precision, where libsvm computes pair by pair.

    Parameters
    ----------
    kernel : {"rbf", "poly", "sigmoid", "linear"}, default="rbf"
    gamma : {"scale", "auto"} or float, default="scale"
    degree : int, default=3
    coef0 : float, default=0.0
        As in :class:`~sklearn.svm.SVC`.

    Attributes
    ----------
    rows_ : ndarray of shape (n, n_features)
        The training set, or what :meth:`keep` has left of it.
    gamma_ : float
    n_features_in_ : int
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "kernel": [StrOptions(set(KERNELS))],
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
    def fit(self, X: Any, y: Any = None) -> SupportKernel:
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
        self.n_features_in_ = self.rows_.shape[1]
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
        """Kernel with the stored rows.

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
        if not len(rows):  # labels that are all the same need no support
            return np.zeros((len(X), 0))
        return pairwise_kernels(
            X,
            rows,
            metric=self.kernel,
            filter_params=True,
            gamma=self.gamma_,
            degree=self.degree,
            coef0=self.coef0,
        )

    def keep(self, machines: list[_KernelMachine]) -> None:
        """Leave out the rows that support no machine, here and in the machines.

        Parameters
        ----------
        machines : list of KernelClassifier or KernelRegressor
            Fitted on the kernel of all rows.
        """
        supporting = np.zeros(len(self.rows_), dtype=bool)
        for machine in machines:
            supporting |= machine.coef_ != 0
        self.rows_ = self.rows_[supporting]
        for machine in machines:
            machine.coef_ = machine.coef_[supporting]


class _KernelMachine(EstimatorMixin, BaseEstimator):
    """Weighted sum of precomputed kernels; libsvm finds the weights and does not use them.

    Parameters
    ----------
    machine : estimator
        Support vector machine with ``kernel="precomputed"``.

    Attributes
    ----------
    coef_ : ndarray of shape (n_rows,)
        Weights of the kernels with the stored rows, zero for those that do not support.
    intercept_ : float
    """

    def __init__(self, machine: Any) -> None:
        self.machine = machine

    def fit(self, X: Any, y: Any, sample_weight: Any = None, rows: Any = None) -> Self:
        """Find the weights.

        Parameters
        ----------
        X : ndarray of shape (n, n)
            Kernels of the training set with itself.
        y : array-like of shape (n_labels,)
        sample_weight : array-like of shape (n_labels,), optional
        rows : ndarray of int of shape (n_labels,), optional
            Row of X of each label; a row may have several. By default each has one.

        Returns
        -------
        self
        """
        rows = np.arange(len(X)) if rows is None else rows
        kernel = X if len(rows) == len(X) else X[np.ix_(rows, rows)]
        fitted = clone(self.machine).fit(kernel, y, sample_weight)
        coef = np.zeros(len(X))
        np.add.at(coef, rows[fitted.support_], fitted.dual_coef_[0])
        return self._take(fitted, coef)

    def _take(self, fitted: Any, coef: NDArray[np.float64]) -> Self:
        self.coef_ = coef
        self.intercept_ = float(fitted.intercept_[0])
        return self

    def _sum(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        check_is_fitted(self)
        return np.asarray(X @ self.coef_ + self.intercept_)


class KernelClassifier(ClassifierMixin, _KernelMachine):
    """Binary classifier of precomputed kernels.

    Parameters
    ----------
    machine : SVC
        With ``kernel="precomputed"``.

    Attributes
    ----------
    coef_ : ndarray of shape (n_rows,)
        Weights of the kernels with the stored rows, zero for those that do not support.
    intercept_ : float
    classes_ : ndarray of shape (2,)
    """

    def _take(self, fitted: Any, coef: NDArray[np.float64]) -> Self:
        if len(fitted.classes_) != 2:
            raise ValueError(
                f"{type(fitted).__name__} has learned {len(fitted.classes_)} classes, which takes "
                "a weight for each pair of them. OrdinalClassifier(estimator=…) learns one "
                "binary classifier per threshold."
            )
        self.classes_ = fitted.classes_
        return super()._take(fitted, coef)

    def decision_function(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Signed distance, positive for the second class.

        Parameters
        ----------
        X : ndarray of shape (n, n_rows)
            Kernels with the stored rows.

        Returns
        -------
        ndarray of shape (n,)
        """
        return self._sum(X)

    def predict(self, X: NDArray[np.float64]) -> NDArray[Any]:
        """Class.

        Parameters
        ----------
        X : ndarray of shape (n, n_rows)
            Kernels with the stored rows.

        Returns
        -------
        ndarray of shape (n,)
        """
        return self.classes_[(self._sum(X) > 0).astype(int)]


class KernelRegressor(RegressorMixin, _KernelMachine):
    """Regressor of precomputed kernels.

    Parameters
    ----------
    machine : SVR
        With ``kernel="precomputed"``.

    Attributes
    ----------
    coef_ : ndarray of shape (n_rows,)
        Weights of the kernels with the stored rows, zero for those that do not support.
    intercept_ : float
    """

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the kernels.

        Parameters
        ----------
        X : ndarray of shape (n, n_rows)
            Kernels with the stored rows.

        Returns
        -------
        ndarray of shape (n,)
        """
        return self._sum(X)


def without_libsvm(estimator: Any) -> Any:
    """Fitted support vector machine as a Pipeline that predicts with NumPy.

    Parameters
    ----------
    estimator : estimator
        A fitted :class:`~sklearn.svm.SVC` of two classes or :class:`~sklearn.svm.SVR`, alone or as
        the last step of a Pipeline.

    Returns
    -------
    estimator
        A Pipeline whose last two steps are kernel and machine. What is not a support vector
        machine is returned as it is.

    Raises
    ------
    ValueError
        If it has more classes, learned sparse rows, or has a kernel that is a function or
        precomputed.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-3, 3, 60)[:, None]
    >>> svr = SVR().fit(X, X.ravel())
    >>> bool(np.allclose(without_libsvm(svr).predict(X), svr.predict(X)))
    True
    """
    steps = estimator.steps if type(estimator) is Pipeline else [("svm", estimator)]
    *first, (name, svm) = steps
    if type(svm) not in (SVC, SVR):
        return estimator
    if svm.kernel not in KERNELS or not isinstance(svm.support_vectors_, np.ndarray):
        raise ValueError(
            f"{type(svm).__name__} with kernel={svm.kernel!r} on {type(svm.support_vectors_)} "
            f"cannot be written as a sum of kernels: use dense rows and one of {KERNELS}."
        )
    kernel = SupportKernel(svm.kernel, gamma=svm.gamma, degree=svm.degree, coef0=svm.coef0)
    single = svm.support_vectors_.astype(np.float32)
    # Features in single precision come back from libsvm in double: half the size, the same numbers.
    lossless = np.array_equal(single, svm.support_vectors_)
    kernel.rows_, kernel.gamma_ = single if lossless else svm.support_vectors_, svm._gamma
    kind = KernelClassifier if type(svm) is SVC else KernelRegressor
    kernel.n_features_in_ = svm.n_features_in_
    machine = kind(clone(svm).set_params(kernel="precomputed"))._take(svm, svm.dual_coef_[0])
    return Pipeline([*first, ("supportkernel", kernel), (name, machine)])
