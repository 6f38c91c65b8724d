"""Docstrings of everything public: numpydoc, and in step with the signatures."""

import importlib
import inspect

import pytest
from numpydoc.docscrape import FunctionDoc, NumpyDocString
from sklearn.base import BaseEstimator

import sklearn_speechsent

PACKAGES = ("", *(f".{room}" for room in sklearn_speechsent._SUBMODULES))


def public_objects():
    found = {}
    for package in PACKAGES:
        module = importlib.import_module("sklearn_speechsent" + package)
        # Two rooms are a module each, whose one name the package or its own test has.
        for name in getattr(module, "__all__", ()):
            item = getattr(module, name)
            if inspect.isclass(item) or inspect.isfunction(item):
                found[f"{item.__module__}.{name}"] = item
    return found


def documented(doc):
    """Names in the Parameters section, of which one line may hold several."""
    return [
        name.strip().lstrip("*")
        for parameter in doc["Parameters"]
        for name in parameter.name.split(",")
    ]


def accepted(item):
    """Names in the signature."""
    if inspect.isclass(item) and issubclass(item, Exception):
        return []
    if hasattr(item, "_fields"):  # a named tuple
        return list(item._fields)
    if inspect.isclass(item) and not any("__init__" in vars(base) for base in item.__mro__[:-1]):
        return []
    return list(inspect.signature(item).parameters)


OBJECTS = public_objects()


@pytest.mark.parametrize("name", OBJECTS)
def test_parameters_match_the_signature(name):
    item = OBJECTS[name]
    doc = NumpyDocString(inspect.getdoc(item) or "")
    assert doc["Summary"], "no summary"
    assert sorted(documented(doc)) == sorted(accepted(item))


@pytest.mark.parametrize(
    "name",
    [n for n, item in OBJECTS.items() if inspect.isclass(item) and issubclass(item, BaseEstimator)],
)
def test_estimators_have_examples_and_documented_methods(name):
    item = OBJECTS[name]
    doc = NumpyDocString(inspect.getdoc(item) or "")
    assert doc["Examples"], "no example"
    for method in ("fit", "partial_fit", "transform", "predict", "predict_proba"):
        function = inspect.getattr_static(item, method, None)
        function = getattr(function, "fn", function)  # behind available_if
        if not inspect.isfunction(function) or not function.__module__.startswith("sklearn_speech"):
            continue
        doc = FunctionDoc(inspect.unwrap(function))
        signature = inspect.signature(inspect.unwrap(function))
        assert sorted(documented(doc)) == sorted(set(signature.parameters) - {"self"}), method
        assert doc["Returns"], method
