"""Entries of what is learned from held-out speakers: calibration and conformal prediction."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.frozen import FrozenEstimator

from sklearn_speechsent.deploy.entries_of_sentiment import check_levels
from sklearn_speechsent.deploy.entry import OF_TABLES, Entry, plain, set_state
from sklearn_speechsent.deploy.values import (
    Array,
    Choice,
    Flag,
    Labels,
    Nested,
    Number,
    Place,
    Rule,
    Several,
    whole,
)
from sklearn_speechsent.inspection import ConformalOrdinal, OrdinalCalibrator
from sklearn_speechsent.inspection.speakerwise import SpeakerwiseEstimator


class _Folds(Number):
    """Parameter ``cv``: a number or None; other folds may tell rows of training."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """As int."""
        if not isinstance(value, Integral):
            raise place.refuse("a bundle holds a number of folds only.")
        return super().write(value, place, writer)


def _get_inner(model: SpeakerwiseEstimator) -> dict[str, Any]:
    """State of every estimator that holds speakers out."""
    found = {name: getattr(model, name) for name in OF_TABLES if hasattr(model, name)}
    inner = model.estimator_
    frozen = isinstance(inner, FrozenEstimator)
    inner = inner.estimator if frozen else inner
    return {**found, "levels_": model.levels_, "estimator_": inner, "frozen": frozen}


def _put_inner(model: SpeakerwiseEstimator, values: dict[str, Any], place: Place) -> None:
    inner = values.pop("estimator_")
    model.estimator_ = FrozenEstimator(inner) if values.pop("frozen") else inner
    model.estimator = model.estimator_
    set_state(model, values, place)
    if is_classifier(inner):
        check_levels(model.levels_)
        if not hasattr(inner, "predict_proba"):
            raise ValueError("the classifier inside has no probabilities.")
        if not np.isin(inner.classes_, model.levels_).all():
            raise ValueError("the classifier inside has other levels.")
        model.classes_ = np.sort(model.levels_)
    elif model.levels_.dtype.kind == "U":
        raise ValueError("intensities are numbers.")


def _get_calibrator(model: OrdinalCalibrator) -> dict[str, Any]:
    functions, found = model.calibrators_, _get_inner(model)
    if model.method == "sigmoid":
        numbers = np.array([(each.a_, each.b_) for each in functions], dtype=np.float64)
        return {**found, "slopes": numbers[:, 0], "shifts": numbers[:, 1]}
    return {
        **found,
        "sizes": np.array([len(each.X_thresholds_) for each in functions]),
        "odds": np.concatenate([each.X_thresholds_ for each in functions]),
        "shares": np.concatenate([each.y_thresholds_ for each in functions]),
    }


def _put_calibrator(model: OrdinalCalibrator, values: dict[str, Any], place: Place) -> None:
    names = ("slopes", "shifts") if model.method == "sigmoid" else ("sizes", "odds", "shares")
    arrays = {name: values.pop(name) for name in _OF_FUNCTIONS if name in values}
    _put_inner(model, values, place)
    if set(arrays) != set(names):
        raise ValueError(f"method={model.method!r} has {', '.join(names)}.")
    if not hasattr(model, "classes_"):
        raise ValueError("what is calibrated is a classifier.")
    n, wanted = len(arrays[names[0]]), len(model.levels_) - 1
    if n != wanted:
        raise ValueError(f"{n} functions for {wanted} thresholds.")
    model.calibrators_ = [model._calibrator() for _ in range(n)]
    if model.method == "sigmoid":
        for each, slope, shift in zip(model.calibrators_, *arrays.values(), strict=True):
            each.a_, each.b_ = slope, shift
        return
    sizes, odds, shares = arrays.values()
    if sizes.sum() != len(odds):
        raise ValueError(f"{sizes.sum()} steps are named and {len(odds)} are there.")
    ends = np.cumsum(sizes)
    for each, start, end in zip(model.calibrators_, ends - sizes, ends, strict=True):
        each.fit(odds[start:end], shares[start:end])  # steps that never decrease are their own fit
        same = np.array_equal(each.X_thresholds_, odds[start:end])
        if not (same and np.array_equal(each.y_thresholds_, shares[start:end])):
            raise ValueError("the steps of a threshold are not in order.")


def _get_conformal(model: ConformalOrdinal) -> dict[str, Any]:
    found = {
        **_get_inner(model),
        "residuals": model._residuals_,
        "weights": model._weights_,
        "owners": model._owners_,
        "n_speakers": model._n_speakers_,
    }
    if hasattr(model, "classes_"):
        found["scores"] = model._scores_
    if any(each is not model.estimator_ for each in model._models_):
        found["models"] = model._models_
    return found


def _put_conformal(model: ConformalOrdinal, values: dict[str, Any], place: Place) -> None:
    learned = {name: values.pop(name) for name in _OF_RECORDINGS if name in values}
    models = learned.pop("models", None)
    _put_inner(model, values, place)
    if hasattr(model, "classes_") != ("scores" in learned):
        raise ValueError("scores belong to classifiers.")
    model._models_ = [model.estimator_] if models is None else models
    for each in models or []:
        # A fold may lack levels.
        known = getattr(each, "classes_", model.levels_)
        if type(each) is not type(model.estimator_) or not np.isin(known, model.levels_).all():
            raise ValueError("the models of the folds are of another class, or have other levels.")
    for name, value in learned.items():
        setattr(model, f"_{name}_", value)
    n = len(model._weights_)
    if not 1 <= model._n_speakers_ <= n or abs(model._weights_.sum() - 1) > 1e-6:
        raise ValueError(f"{n} held-out recordings do not have the weight of one together.")
    if model._owners_.max() >= len(model._models_):
        raise ValueError("there are fewer models than the held-out recordings name.")


_OF_FUNCTIONS: dict[str, Rule] = {
    "slopes": Array("k", "float64"),
    "shifts": Array("k", "float64"),
    "sizes": Array("k", "int64", low=1, high=2**31),
    "odds": Array("s", "float64"),
    "shares": Array("s", "float64", low=0, high=1),
}
#: Rounding lets a nonconformity lie a little beyond its ends.
_OF_RECORDINGS: dict[str, Rule] = {
    "scores": Array("r", "float64", low=-1e-6, high=1 + 1e-6),
    "residuals": Array("r", "float64", low=0),
    "weights": Array("r", "float64", low=0, high=1),
    "owners": Array("r", "int64", low=0),
    "n_speakers": whole(1, 2**31),
    "models": Several(),
}
_INNER: dict[str, Rule] = {
    **OF_TABLES,
    "levels_": Labels(),
    "estimator_": Nested(),
    "frozen": Flag(),
}
_CV: dict[str, Rule] = {"cv": _Folds(2, 2**31, whole=True, optional=True)}
CALIBRATION_STEPS = [
    Entry(
        OrdinalCalibrator,
        plain("method") | _CV,
        {**_INNER, **_OF_FUNCTIONS},
        "n_jobs verbose",
        " ".join([*OF_TABLES, *_OF_FUNCTIONS]),
        ("cv",),
        {"estimator": None},
        _get_calibrator,
        _put_calibrator,
    ),
    Entry(
        ConformalOrdinal,
        # Names of speakers do not leave this machine.
        plain("alpha method guarantee max_levels") | _CV | {"calibration": Choice({})},
        {**_INNER, **_OF_RECORDINGS},
        "n_jobs verbose",
        " ".join([*OF_TABLES, "scores", "models"]),
        ("cv", "calibration"),
        {"estimator": None},
        _get_conformal,
        _put_conformal,
    ),
]
