"""Entries of scikit-learn's Pipeline and of its steps that take tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR

from sklearn_speechsent.deploy.entry import OF_TABLES, Entry, plain, set_state
from sklearn_speechsent.deploy.values import (
    Array,
    Labels,
    Number,
    Place,
    Rule,
    Scalar,
    Seed,
    Size,
    Steps,
    whole,
)
from sklearn_speechsent.sentiment.kernel_machine import (
    KernelClassifier,
    KernelRegressor,
    SupportKernel,
)


def _scaler(kind: type, params: str, **arrays: Rule) -> Entry:
    dropped = "copy"
    return Entry(kind, plain(params), {**OF_TABLES, **arrays}, dropped, "feature_names_in_")


def put_pipeline(model: Any, values: dict[str, Any], place: Place) -> None:
    """Check that what one step gives is what the next one takes, as far as both are known."""
    given = None
    for name, step in model.steps:
        if step == "passthrough":
            continue
        if step == "drop":
            raise ValueError("a step of a Pipeline is not dropped.")
        taken, made = _widths(step)
        if None not in (given, taken) and given != taken:
            raise ValueError(f"step {name!r} takes {taken} values, and {given} come.")
        given = made


def _widths(step: Any) -> tuple[int | None, int | None]:
    """Columns that a step of tables takes and gives."""
    if isinstance(step, SupportKernel) and hasattr(step, "rows_"):
        return step.rows_.shape[1], len(step.rows_)
    if isinstance(step, (KernelClassifier, KernelRegressor)) and hasattr(step, "coef_"):
        return len(step.coef_), None
    if isinstance(step, PCA) and hasattr(step, "components_"):
        return step.components_.shape[1], len(step.components_)
    scalers = (MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler)
    n = getattr(step, "n_features_in_", None)
    return (n, n) if isinstance(step, scalers) else (None, None)


def _put_linear(model: Any, values: dict[str, Any], place: Place) -> None:
    set_state(model, values, place)
    if hasattr(model, "classes_"):
        n = len(model.classes_)
        if n < 2 or len(model.coef_) != (1 if n == 2 else n):
            raise ValueError(f"{len(model.coef_)} rows of coefficients for {n} classes.")


def _get_constant(model: DummyClassifier) -> dict[str, Any]:
    if model.strategy != "constant" or not isinstance(model.constant, (bool, np.bool_)):
        raise ValueError(
            "of DummyClassifier, only thresholds that all labels are on one side of can be saved."
        )
    return {"n_features_in_": model.n_features_in_}


def _put_constant(model: DummyClassifier, values: dict[str, Any], place: Place) -> None:
    if model.strategy != "constant" or type(model.constant) is not bool:
        raise ValueError("a constant threshold is true or false.")
    model.fit(np.zeros((1, values["n_features_in_"])), [model.constant])


_SVM = "C kernel degree gamma coef0 shrinking tol max_iter"
_LINEAR = {**OF_TABLES, "coef_": Array("n"), "intercept_": Scalar()}
TABLE_STEPS = [
    Entry(Pipeline, {"steps": Steps()}, {}, "memory verbose transform_input", put=put_pipeline),
    _scaler(
        StandardScaler,
        "with_mean with_std",
        mean_=Array("n", optional=True),
        var_=Array("n", low=0, optional=True),
        scale_=Array("n", low=1e-300, optional=True),
        n_samples_seen_=Number(0),
    ),
    _scaler(
        MinMaxScaler,
        "feature_range clip",
        min_=Array("n"),
        scale_=Array("n"),
        data_min_=Array("n"),
        data_max_=Array("n"),
        data_range_=Array("n", low=0),
        n_samples_seen_=Number(0),
    ),
    _scaler(
        MaxAbsScaler,
        "clip",
        scale_=Array("n", low=1e-300),
        max_abs_=Array("n", low=0),
        n_samples_seen_=Number(0),
    ),
    _scaler(
        RobustScaler,
        "with_centering with_scaling quantile_range unit_variance",
        center_=Array("n", optional=True),
        scale_=Array("n", low=1e-300, optional=True),
    ),
    _scaler(Normalizer, "norm"),
    Entry(
        PCA,
        plain("n_components whiten svd_solver tol iterated_power n_oversamples")
        | plain("power_iteration_normalizer")
        | {"random_state": Seed()},
        {
            **OF_TABLES,
            "mean_": Array("n"),
            "components_": Array("k n"),
            "explained_variance_": Array("k", low=0),
            "explained_variance_ratio_": Array("k", low=0),
            "singular_values_": Array("k", low=0),
            "noise_variance_": Number(0),
            "n_components_": Size("k"),
            "n_samples_": whole(1, 2**31),
        },
        "copy",
        "feature_names_in_",
    ),
    Entry(
        LogisticRegression,
        plain("C class_weight dual fit_intercept intercept_scaling l1_ratio max_iter penalty")
        | plain("solver tol warm_start")
        | {"random_state": Seed()},
        {**OF_TABLES, "coef_": Array("k n"), "intercept_": Array("k"), "classes_": Labels()},
        "n_jobs verbose multi_class",
        "feature_names_in_",
        put=_put_linear,
    ),
    Entry(
        Ridge,
        plain("alpha fit_intercept max_iter positive solver tol") | {"random_state": Seed()},
        _LINEAR,
        "copy_X",
        "feature_names_in_",
        put=_put_linear,
    ),
    Entry(
        LinearRegression,
        plain("fit_intercept positive tol"),
        _LINEAR,
        "copy_X n_jobs",
        "feature_names_in_",
        put=_put_linear,
    ),
    Entry(
        DummyClassifier,
        plain("strategy constant") | {"random_state": Seed()},
        {"n_features_in_": Size("n")},
        get=_get_constant,
        put=_put_constant,
    ),
    # Fitted ones are sums of kernels in a bundle: see sentiment/kernel_machine.py.
    Entry(
        SVC,
        plain(f"{_SVM} class_weight break_ties decision_function_shape probability")
        | {"random_state": Seed()},
        dropped="cache_size verbose",
    ),
    Entry(SVR, plain(f"{_SVM} epsilon"), dropped="cache_size verbose"),
]
