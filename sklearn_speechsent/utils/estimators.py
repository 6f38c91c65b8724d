"""Common base of all estimators, and the last step of Pipelines."""

from __future__ import annotations

import warnings
from inspect import signature
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from sklearn_speechsent import _version
from sklearn_speechsent.utils.callbacks import CallbackSupportMixin
from sklearn_speechsent.utils.sklearn_compat import BaseSearchCV, routing_enabled

#: Entry of a pickled state.
_ENTRY = "_version_"


class PackageVersionWarning(InconsistentVersionWarning):
    """A pickle was made by another version of this package.

    Parameters
    ----------
    original : str or None
        Version that made the pickle; None for pickles that do not say it.
    current : str
        Version that loads it.
    """

    def __init__(self, original: str | None, current: str) -> None:
        super().__init__(
            estimator_name="sklearn_speechsent",
            current_sklearn_version=current,
            original_sklearn_version=original or "unknown",
        )

    def __str__(self) -> str:
        return (
            "A pickle of estimators of sklearn_speechsent was made by version "
            f"{self.original_sklearn_version} and is loaded by version "
            f"{self.current_sklearn_version}. It may fail, or give other results: fit again, or "
            "install the version that made it."
        )


class _Stamp:
    """Version of the package in a pickle.

    There is one object for all estimators. pickle writes and reads an object once however often it
    occurs, so that there is one warning for a Pipeline of six steps.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return read_stamp, (_version.__version__,)


_STAMP = _Stamp()


def read_stamp(version: str | None) -> _Stamp:
    """Compare the version that a pickle names with the present one; pickles call it by this name.

    Parameters
    ----------
    version : str or None

    Returns
    -------
    _Stamp

    Warns
    -----
    PackageVersionWarning
        If they differ.
    """
    if version != _version.__version__:
        warnings.warn(PackageVersionWarning(version, _version.__version__), stacklevel=2)
    return _STAMP


def with_version(state: dict[str, Any]) -> dict[str, Any]:
    """State of an estimator as it is pickled.

    Parameters
    ----------
    state : dict

    Returns
    -------
    dict
        With the version of the package.
    """
    return {**state, _ENTRY: _STAMP}


def without_version(state: dict[str, Any]) -> dict[str, Any]:
    """State of an estimator as it was before it was pickled.

    Parameters
    ----------
    state : dict
        What :func:`with_version` gave, or a pickle from before there were versions, which warns.

    Returns
    -------
    dict
    """
    if _ENTRY not in state:
        read_stamp(None)
    return {name: value for name, value in state.items() if name != _ENTRY}


class EstimatorMixin(CallbackSupportMixin):
    """First base of every estimator of this package.

    It takes part in scikit-learn's callbacks. A pickle names the version of the package that made
    it, and warns when another one loads it.
    """

    def __getstate__(self) -> dict[str, Any]:
        return with_version(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(without_version(state))


def final_step(estimator: Any) -> tuple[str, Any]:
    """Last step of a Pipeline, or of Pipelines in Pipelines.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    prefix : str
        Of its parameters, empty for an estimator that is not a Pipeline.
    step : estimator

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> final_step(make_pipeline(make_pipeline(Ridge())))
    ('pipeline__ridge__', Ridge())
    """
    prefix = ""
    while isinstance(estimator, Pipeline):
        name, estimator = estimator.steps[-1]
        prefix += f"{name}__"
    return prefix, estimator


def addressed_weight(estimator: Any, weight: Any) -> dict[str, Any]:
    """Weights under the name that an estimator, or a Pipeline that ends in one, knows them by.

    Parameters
    ----------
    estimator : estimator
    weight : array-like of shape (n,)

    Returns
    -------
    dict
        Parameters of ``fit``.

    Raises
    ------
    ValueError
        If the last step takes no weights.
    """
    prefix, last = final_step(estimator)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature(last.fit).parameters.values())
    if not (has_fit_parameter(last, "sample_weight") or takes_any):
        raise ValueError(
            f"{type(last).__name__} takes no sample_weight. Leave it out, or use another estimator."
        )
    # With metadata routing, the steps' own requests say which of them take it.
    return {"sample_weight" if routing_enabled() else f"{prefix}sample_weight": weight}


def addressed_groups(estimator: Any, groups: Any) -> dict[str, Any]:
    """Groups under the name that an estimator, or a Pipeline that ends in one, knows them by.

    Parameters
    ----------
    estimator : estimator
    groups : array-like of shape (n,)

    Returns
    -------
    dict
        Parameters of ``fit``; empty where there is no use for groups.
    """
    if routing_enabled():
        consumed = get_routing_for_object(estimator).consumes("fit", ["groups"])
        return {"groups": groups} if consumed else {}
    prefix, last = final_step(estimator)
    if isinstance(last, BaseSearchCV):  # which gives them to its splitter
        splitter = check_cv(last.cv)
        takes = bool(get_routing_for_object(splitter).consumes("split", ["groups"]))
    else:
        takes = has_fit_parameter(last, "groups") and getattr(last, "_uses_groups", True)
    return {f"{prefix}groups": groups} if takes else {}


def set_everywhere(model: Any, **values: Any) -> Any:
    """Set parameters in every estimator inside of a model that has them.

    Parameters
    ----------
    model : estimator
    **values : dict
        By name, such as ``n_jobs=2``.

    Returns
    -------
    estimator
        The same.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> model = set_everywhere(make_pipeline(StandardScaler()), copy=False, n_jobs=2)
    >>> model[0].copy
    False
    """
    params = model.get_params()
    for inner in params.values():
        if isinstance(inner, FrozenEstimator):  # which hides its parameters
            set_everywhere(inner.estimator, **values)
    last = {param: param.split("__")[-1] for param in params}
    return model.set_params(**{p: values[name] for p, name in last.items() if name in values})
