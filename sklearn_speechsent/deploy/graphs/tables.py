"""Estimators of tables in a graph: scalers, principal components, kernels, sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_speechsent.graphs.builder import Graph, Value
from sklearn_speechsent.sentiment.kernel_machine import (
    KernelClassifier,
    KernelRegressor,
    SupportKernel,
    without_libsvm,
)

#: Estimators that are a product with their coefficients.
_SUMS = (
    KernelClassifier,
    KernelRegressor,
    LinearRegression,
    LinearSVC,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)


class TableGraph:
    """Fitted estimators on one row of a table; steps that estimators share are computed once.

    Parameters
    ----------
    graph : Graph
    row : Value of shape (1, n_features)
    """

    def __init__(self, graph: Graph, row: Value) -> None:
        self.graph = graph
        self._row = row.cast(np.float64)
        # With the steps themselves, so that no other object gets their identity.
        self._made: dict[tuple[int, str], tuple[Any, Value]] = {}

    def output(self, estimator: Any) -> Value:
        """Signed distance, or predicted number.

        Parameters
        ----------
        estimator : estimator
            Fitted; of two classes if it is a classifier.

        Returns
        -------
        Value of shape (1, 1), float64

        Raises
        ------
        ValueError
            If it is of a kind that has no graph.
        """
        estimator = without_libsvm(estimator)
        x = self._row
        steps = (
            [step for _, step in estimator.steps] if type(estimator) is Pipeline else [estimator]
        )
        for step in steps:
            if step is None or step == "passthrough":
                continue
            key = (id(step), x.name)
            if key not in self._made:
                self._made[key] = step, self._step(step, x)
            x = self._made[key][1]
        return x

    def _step(self, step: Any, x: Value) -> Value:
        if type(step) is StandardScaler:
            x = x - step.mean_ if step.with_mean else x
            return x / step.scale_ if step.with_std else x
        if type(step) is PCA:
            x = (x - step.mean_) @ self._transposed(step.components_)
            return x / np.sqrt(step.explained_variance_) if step.whiten else x
        if type(step) is SupportKernel:
            return self._kernel(step, x)
        if type(step) in _SUMS:
            return x @ np.reshape(step.coef_, (-1, 1)) + np.float64(np.ravel(step.intercept_)[0])
        if type(step) is DummyClassifier:  # all labels of training on one side of the threshold
            return self.graph.constant([[np.inf if step.constant else -np.inf]])
        raise ValueError(
            f"{type(step).__name__} cannot be exported to ONNX. StandardScaler, PCA, support "
            "vector machines and linear models can: use one of these as estimator=, or leave it "
            "out for the default."
        )

    def _transposed(self, matrix: Any) -> Value:
        """Matrix in double precision, of which the file has no more than it holds."""
        return self.graph.constant(matrix).transpose(1, 0).cast(np.float64)

    def _kernel(self, step: SupportKernel, x: Value) -> Value:
        """Kernel with the stored rows."""
        graph = self.graph
        rows = np.asarray(step.rows_)
        if not len(rows):
            return graph.constant(np.zeros((1, 0)))
        product = x @ self._transposed(rows)
        if step.kernel == "linear":
            return product
        if step.kernel == "rbf":
            squares = (x * x).reduce("Sum", 1) + np.square(rows, dtype=np.float64).sum(1)
            distances = graph.Max(squares - product * 2.0, np.float64(0.0))
            return graph.Exp(distances * -float(step.gamma_))
        product = product * float(step.gamma_) + float(step.coef0)
        if step.kernel == "sigmoid":
            return graph.Tanh(product)
        return graph.Pow(product, np.float64(step.degree))
