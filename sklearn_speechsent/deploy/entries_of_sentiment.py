"""Entries of the estimators of sentiment that take tables, alone or several together."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from sklearn_speechsent.deploy.entries_of_tables import put_pipeline
from sklearn_speechsent.deploy.entry import OF_TABLES, Entry, plain, set_state
from sklearn_speechsent.deploy.values import (
    Array,
    Labels,
    Levels,
    Nested,
    Number,
    Place,
    Plain,
    Rule,
    Several,
    Size,
    Steps,
)
from sklearn_speechsent.sentiment import (
    IntensityRegressor,
    IntensityVotingRegressor,
    OrdinalClassifier,
    OrdinalVotingClassifier,
)
from sklearn_speechsent.sentiment.kernel_machine import (
    KernelClassifier,
    KernelRegressor,
    SupportKernel,
)


def _put_machine(model: Any, values: dict[str, Any], place: Place) -> None:
    set_state(model, values, place)
    if len(values.get("classes_", (0, 1))) != 2:
        raise ValueError("a machine has two classes.")


def _get_ordinal(model: OrdinalClassifier) -> dict[str, Any]:
    found = {n: getattr(model, n) for n in ("levels_", *OF_TABLES) if hasattr(model, n)}
    shared, thresholds = model._shared_, model.estimators_
    last = ""
    if shared is not None:
        last = thresholds[0].steps[-1][0]
        thresholds = [pipeline[-1] for pipeline in thresholds]
    return {**found, "shared": shared, "last": last, "thresholds": thresholds}


def _put_ordinal(model: OrdinalClassifier, values: dict[str, Any], place: Place) -> None:
    shared, last = values.pop("shared"), values.pop("last")
    thresholds = values.pop("thresholds")
    set_state(model, values, place)
    check_levels(model.levels_)
    if len(thresholds) != len(model.levels_) - 1:
        raise ValueError(f"{len(thresholds)} thresholds for {len(model.levels_)} levels.")
    if not all(hasattr(each, "predict") for each in thresholds):
        raise ValueError("thresholds are classifiers.")
    if shared is not None:
        if type(shared) is not Pipeline or type(shared[-1]) is not SupportKernel:
            raise ValueError("what thresholds share ends in a kernel.")
        # Of each: Pipelines check that what one step gives is what the next one takes.
        thresholds = [Pipeline([*shared.steps, (last, each)]) for each in thresholds]
        for each in thresholds:
            if type(each[-1]) not in (KernelClassifier, DummyClassifier):
                raise ValueError("thresholds of a kernel are sums of it.")
            put_pipeline(each, {}, place)
    model._shared_, model.estimators_ = shared, thresholds
    model.classes_ = np.sort(model.levels_)


def check_levels(levels: Any) -> None:
    """Raise a ValueError unless levels are two or more, and numbers in order."""
    numbers = levels.dtype.kind != "U"
    if len(levels) < 2 or (numbers and not np.array_equal(levels, np.sort(levels))):
        raise ValueError(f"{levels.tolist()!r:.80} are not two or more levels in order.")


def _get_vote(model: Any) -> dict[str, Any]:
    weights = model.weights
    if weights is not None:
        pairs = zip(weights, model.estimators, strict=True)
        weights = [float(weight) for weight, (_, member) in pairs if member != "drop"]
    found = {"members": list(model.named_estimators_.items()), "weights": weights}
    return found | ({"levels_": model.levels_} if hasattr(model, "levels_") else {})


def _put_vote(model: Any, values: dict[str, Any], place: Place) -> None:
    members = values.pop("members")
    set_state(model, values, place)  # the parameter weights, too
    model.estimators = members
    if any(isinstance(member, str) for _, member in members):
        raise ValueError("every member of a bundle votes.")
    model._check_weights()
    model.estimators_ = [member for _, member in members]
    model.named_estimators_ = Bunch(**dict(members))
    if "levels_" in values:
        check_levels(model.levels_)
        model.classes_ = np.sort(model.levels_)
        if any(not np.array_equal(m.classes_, model.classes_) for m in model.estimators_):
            raise ValueError("members have other levels.")


_MACHINE_STATE: dict[str, Rule] = {"coef_": Array("r", "float64"), "intercept_": Number()}
SENTIMENT_STEPS = [
    Entry(
        SupportKernel,
        plain("kernel gamma degree coef0"),
        {"n_features_in_": Size("n"), "rows_": Array("r n"), "gamma_": Number(0)},
    ),
    Entry(
        KernelClassifier,
        {"machine": Nested(fitted=False)},
        {**_MACHINE_STATE, "classes_": Labels()},
        blank={"machine": None},
        put=_put_machine,
    ),
    Entry(
        KernelRegressor,
        {"machine": Nested(fitted=False)},
        _MACHINE_STATE,
        blank={"machine": None},
        put=_put_machine,
    ),
    Entry(
        OrdinalClassifier,
        plain("C gamma n_components on_error")
        | {"estimator": Nested(fitted=False, optional=True), "levels": Levels()},
        {
            **OF_TABLES,
            "levels_": Labels(),
            "shared": Nested(optional=True),
            "last": Plain(),
            "thresholds": Several(),
        },
        "n_jobs",
        "feature_names_in_",
        get=_get_ordinal,
        put=_put_ordinal,
    ),
    Entry(
        IntensityRegressor,
        plain("C gamma n_components on_error") | {"estimator": Nested(fitted=False, optional=True)},
        {**OF_TABLES, "estimator_": Nested()},
        optional="feature_names_in_",
    ),
    Entry(
        OrdinalVotingClassifier,
        plain("on_error") | {"levels": Levels()},
        {"members": Steps(), "weights": Plain(), "levels_": Labels()},
        blank={"estimators": [], "weights": None},
        get=_get_vote,
        put=_put_vote,
    ),
    Entry(
        IntensityVotingRegressor,
        {},
        {"members": Steps(), "weights": Plain()},
        blank={"estimators": [], "weights": None},
        get=_get_vote,
        put=_put_vote,
    ),
]
