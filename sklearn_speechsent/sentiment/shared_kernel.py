"""Kernel of support vector classifiers that all thresholds share."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
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

from sklearn_speechsent.sentiment.kernel_machine import KernelClassifier, SupportKernel

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


def split_at_kernel(
    estimator: Any, X: Any, n_labels: int
) -> tuple[Pipeline, tuple[str, KernelClassifier]] | None:
    """Split a classifier into steps that all thresholds share and one that learns each threshold.

    Parameters
    ----------
    estimator : classifier
    X : ndarray or sparse matrix of shape (n, n_features)
        The training set.
    n_labels : int
        Labels of a threshold at most; more than rows, where some have two.

    Returns
    -------
    shared : Pipeline
        From rows to their kernel with the training set.
    last : tuple of str and KernelClassifier
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
    if not isinstance(X, np.ndarray) or 8 * n_labels**2 > _LARGEST:
        return None
    if not all(type(step) in _UNSUPERVISED or step in ("passthrough", None) for _, step in scalers):
        return None
    kernel = SupportKernel(svc.kernel, gamma=svc.gamma, degree=svc.degree, coef0=svc.coef0)
    shared = clone(Pipeline([*scalers, ("supportkernel", kernel)]))
    return shared, (name, KernelClassifier(clone(svc).set_params(kernel="precomputed")))
