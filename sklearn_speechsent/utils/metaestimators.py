"""Looking inside of an estimator that another one wraps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from sklearn_speechsent.utils.sklearn_compat import BaseSearchCV, routing_enabled


def find_search(estimator: Any) -> BaseSearchCV | None:
    """Search that fitting an estimator would run.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    BaseSearchCV or None
        The first that is found, however deep; a frozen one does not count, as it is not run.
    """
    inner = {"": estimator, **estimator.get_params(deep=True)}
    frozen = tuple(f"{k}__" for k, v in inner.items() if isinstance(v, FrozenEstimator))
    for name, value in inner.items():
        if isinstance(value, BaseSearchCV) and not name.startswith(frozen):
            return value
    return None


def final_step(estimator: Any) -> tuple[str, Any]:
    """Last step of a Pipeline, or of Pipelines in Pipelines.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    prefix : str
        Of its parameters, empty for what is no Pipeline.
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


def rows_as_groups(estimator: Any, n: int) -> dict[str, NDArray[np.intp]]:
    """Parameters of ``fit`` that make every row a group of its own.

    Parameters
    ----------
    estimator : estimator
        With metadata routing, its last step is set to request them: nobody thinks of requesting
        groups that they do not pass.
    n : int
        Number of rows.

    Returns
    -------
    dict
        Empty where groups are not taken.
    """
    prefix, final = final_step(estimator)
    takes_groups = has_fit_parameter(final, "groups")
    if not routing_enabled():
        return {f"{prefix}groups": np.arange(n)} if takes_groups else {}
    if takes_groups and hasattr(final, "set_fit_request"):
        final.set_fit_request(groups=True)
    consumed = get_routing_for_object(estimator).consumes("fit", ["groups"])
    return {"groups": np.arange(n)} if consumed else {}
