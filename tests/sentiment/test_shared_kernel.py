"""Support vector classifiers of all thresholds with one kernel, compared with one kernel each."""

import io
import pickle

import joblib
import numpy as np
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from sklearn_speechsent import OrdinalClassifier
from sklearn_speechsent.sentiment import ordinal, shared_kernel

LEVELS = (-2, -1, 0, 1, 2)


class OtherSVC(SVC):
    """A subclass, whose methods may differ."""


@pytest.fixture
def data(rng):
    """Noisy levels with many features in single precision, as those of utterances are."""
    y = rng.choice(LEVELS, size=90, p=[0.3, 0.3, 0.2, 0.1, 0.1])
    return (0.3 * y[:, None] + rng.normal(size=(90, 30))).astype(np.float32), y


def by_hand(estimator, X, y, **fit_params):
    """Decisions by a loop over the thresholds."""
    fitted = [clone(estimator).fit(X, y > level, **fit_params) for level in LEVELS[:-1]]
    return np.stack([each.decision_function(X) for each in fitted], axis=1)


@pytest.mark.parametrize(
    "estimator",
    [
        SVC(),
        SVC(C=10.0, gamma="auto", class_weight="balanced"),
        SVC(kernel="poly", degree=2, coef0=1.0),
        SVC(kernel="sigmoid", gamma=0.01),
        make_pipeline(StandardScaler(), SVC(C=10.0, gamma=0.02)),
        Pipeline([("scale", MinMaxScaler()), ("skip", "passthrough"), ("svm", SVC())]),
    ],
    ids=["default", "balanced", "poly", "sigmoid", "scaled", "named steps"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decisions_are_those_of_a_loop(data, estimator, dtype):
    X, y = data[0].astype(dtype), data[1]
    model = OrdinalClassifier(estimator).fit(X, y)
    assert isinstance(model._shared_, Pipeline)
    expected = by_hand(estimator, X, y)
    found = np.stack([each.decision_function(X) for each in model.estimators_], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(model.predict(X), -2 + (expected > 0).sum(axis=1))


def test_the_default_shares_its_kernel(data):
    X, y = data
    model = OrdinalClassifier().fit(X, y)
    plain = make_pipeline(StandardScaler(), SVC(C=10.0, gamma=0.25 / 30, class_weight="balanced"))
    np.testing.assert_array_equal(model.predict(X), -2 + (by_hand(plain, X, y) > 0).sum(axis=1))
    first = model.estimators_[0]
    for each in model.estimators_:
        assert all(each[step] is first[step] for step in range(2))


@pytest.mark.parametrize(
    "estimator",
    [
        SVC(kernel="linear"),
        SVC(kernel=lambda X, Y: X @ Y.T),
        OtherSVC(),
        make_pipeline(SelectKBest(k=3), SVC()),
    ],
    ids=["linear", "a function", "a subclass", "supervised selection"],
)
def test_classifiers_that_do_not_share_a_kernel(data, estimator):
    X, y = data
    model = OrdinalClassifier(estimator).fit(X, y)
    assert model._shared_ is None
    np.testing.assert_array_equal(model.predict(X), -2 + (by_hand(estimator, X, y) > 0).sum(axis=1))


def test_sparse_rows_do_not_share_a_kernel(data):
    X, y = data
    model = OrdinalClassifier(SVC()).fit(scipy.sparse.csr_array(X), y)
    assert model._shared_ is None


@pytest.mark.parametrize("lowest", [0, 1])
def test_weights(data, rng, lowest):
    X, y = data
    weight = rng.integers(lowest, 3, size=len(y)).astype(float)
    model = OrdinalClassifier(SVC()).fit(X, y, sample_weight=weight)
    expected = by_hand(SVC(), X, y, sample_weight=weight)
    np.testing.assert_array_equal(model.predict(X), -2 + (expected > 0).sum(axis=1))


def test_a_threshold_that_nothing_exceeds(data):
    X, y = data
    with pytest.warns(UserWarning, match="at level 3;"):
        model = OrdinalClassifier(levels=range(-2, 4)).fit(X, y)
    assert isinstance(model.estimators_[-1][-1], DummyClassifier)
    plain = OrdinalClassifier().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    np.testing.assert_allclose(model.predict_proba(X)[:, :5], plain.predict_proba(X))
    assert (model.predict_proba(X)[:, 5] == 0).all()


def test_a_kernel_that_is_too_large(data, monkeypatch):
    X, y = data
    shared = OrdinalClassifier().fit(X, y)
    monkeypatch.setattr(shared_kernel, "_LARGEST", 8 * 90**2 - 1)
    plain = OrdinalClassifier().fit(X, y)
    assert shared._shared_ is not None and plain._shared_ is None
    np.testing.assert_allclose(plain.predict_proba(X), shared.predict_proba(X), atol=1e-9)


def test_rows_are_predicted_block_by_block(data, monkeypatch):
    X, y = data
    model = OrdinalClassifier().fit(X, y)
    expected = model.predict_proba(X)
    monkeypatch.setattr(ordinal, "_ROWS", 7)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-12)


@pytest.mark.parametrize("module", [pickle, joblib])
def test_the_training_set_is_pickled_once(data, module):
    X, y = data
    model = OrdinalClassifier().fit(X, y)
    content = io.BytesIO()
    module.dump(model, content)
    rows = model._shared_[-1].rows_
    assert rows.nbytes < len(content.getvalue()) < 2.5 * X.nbytes
    content.seek(0)
    again = module.load(content)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.estimators_[0][-2] is again.estimators_[1][-2] is again._shared_[-1]


def test_search_over_the_parameters_of_the_classifier(data):
    X, y = data
    estimator = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    search = GridSearchCV(
        OrdinalClassifier(estimator, levels=LEVELS),
        {"estimator__svc__C": [0.1, 10.0], "estimator__svc__gamma": ["scale", 1e-3]},
        cv=2,
    ).fit(X, y)
    assert search.best_estimator_._shared_ is not None
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    assert estimator["svc"].kernel == "rbf"


@pytest.mark.parametrize("params", [{"gamma": -1.0}, {"gamma": "none"}, {"C": -1.0}], ids=str)
def test_parameters_that_make_no_sense(data, params):
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
        OrdinalClassifier(SVC(**params)).fit(*data)


def test_tables_between_the_steps(data):
    X, y = data
    model = OrdinalClassifier().fit(X, y)
    with config_context(transform_output="pandas"):
        table = OrdinalClassifier().fit(X, y)
        np.testing.assert_array_equal(table.predict_proba(X), model.predict_proba(X))
