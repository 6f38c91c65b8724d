"""Weights of rows, and metadata routing, through every wrapper."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from sklearn_speechsent import (
    MelFilterBank,
    OrdinalClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    WaveformPerturbation,
)
from sklearn_speechsent.features import FrameStatistics

NET = dict(max_epochs=1, batch_size=8, n_jobs=1, random_state=0)


@pytest.fixture
def weighted(rng):
    """40 noisy rows of levels -1, 0, 1, with weights."""
    y = np.arange(40) % 3 - 1
    return y[:, None] + rng.normal(size=(40, 3)), y, rng.uniform(0.1, 3, 40)


def by_hand(X, y, weight):
    """Decisions of the default estimator, with weights at its last step."""
    scaled = StandardScaler().fit_transform(X)
    return np.stack(
        [
            SVC(C=10.0, gamma=0.25 / 3, class_weight="balanced")
            .fit(scaled, y > k, sample_weight=weight)
            .decision_function(scaled)
            for k in (-1, 0)
        ],
        axis=1,
    )


def test_weights_reach_the_default_estimator(weighted):
    X, y, weight = weighted
    expected = -1 + (by_hand(X, y, weight) > 0).sum(axis=1)
    alone = OrdinalClassifier().fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(alone.predict(X), expected)
    last = alone.estimators_[0]
    np.testing.assert_allclose(last.decision_function(X), by_hand(X, y, weight)[:, 0])
    assert (expected != OrdinalClassifier().fit(X, y).predict(X)).any()
    pipeline = make_pipeline(MinMaxScaler(), OrdinalClassifier())
    pipeline.fit(X, y, ordinalclassifier__sample_weight=weight)
    np.testing.assert_array_equal(pipeline.predict(X), expected)  # scaled again inside


def test_weights_through_perturbed_copies(rng):
    X = [0.1 * rng.normal(size=4000) for _ in range(9)]
    y, weight = np.arange(9) % 3, rng.uniform(0.1, 3, 9)
    front = make_pipeline(MelFilterBank(), FrameStatistics())
    model = WaveformPerturbation(
        make_pipeline(*front, OrdinalClassifier()), speeds=(), conditions=(), predict_speeds=(1,)
    )
    table = front.fit_transform(X)
    expected = OrdinalClassifier().fit(table, y, sample_weight=weight)
    found = model.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(table), rtol=1e-6)


@pytest.mark.parametrize(
    ("inner", "plain"),
    [
        (make_pipeline(make_pipeline(LogisticRegression())), LogisticRegression()),
        (GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2), LogisticRegression()),
    ],
    ids=["pipelines", "search"],
)
def test_weights_reach_the_last_step_of_others(weighted, inner, plain):
    X, y, weight = weighted
    found, expected = (OrdinalClassifier(e).fit(X, y, sample_weight=weight) for e in (inner, plain))
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize(
    "estimator", [OrdinalClassifier(), OrdinalClassifier(LogisticRegression())], ids=str
)
def test_a_weight_of_zero_is_no_row(weighted, estimator):
    X, y, weight = weighted
    weight = np.where((np.arange(40) % 5 == 0) | (y == 1), 0, weight)
    found = clone(estimator).fit(X, y, sample_weight=weight)
    counted = weight > 0
    expected = clone(estimator).fit(X[counted], y[counted], sample_weight=weight[counted])
    assert found.levels_.tolist() == [-1, 0]
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(39), "expected"),
        (np.zeros(40), "zero"),
        (-np.ones(40), "Negative"),
        (np.full(40, np.nan), "NaN"),
        (np.ones((40, 2)), "1D|1d"),
    ],
)
@pytest.mark.parametrize(
    "estimator",
    [OrdinalClassifier(), SpeechSentimentClassifier(**NET), SpeechSentimentRegressor(**NET)],
)
def test_wrong_weights(weighted, estimator, weight, message):
    X, y, _ = weighted
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X, y, sample_weight=weight)


def test_classifiers_that_take_no_weights(weighted):
    X, y, weight = weighted
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight"):
        OrdinalClassifier(make_pipeline(KNeighborsClassifier())).fit(X, y, sample_weight=weight)


# -- metadata routing ------------------------------------------------------------------------------


@pytest.fixture
def routing():
    """Metadata routing is enabled."""
    with config_context(enable_metadata_routing=True):
        yield


ESTIMATORS = {
    "ordinal": OrdinalClassifier(),
    "classifier": SpeechSentimentClassifier(**NET),
    "regressor": SpeechSentimentRegressor(**NET),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.usefixtures("routing")
def test_fit_score_and_search_in_a_pipeline(weighted, name):
    X, y, weight = weighted
    estimator = clone(ESTIMATORS[name])
    plain = make_pipeline(StandardScaler(), clone(estimator)).fit(X, y)
    with config_context(enable_metadata_routing=False):
        assert plain.score(X, y) == make_pipeline(StandardScaler(), estimator).fit(X, y).score(X, y)
    assert np.isfinite(cross_validate(plain, X, y, cv=2)["test_score"]).all()

    estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    pipeline = make_pipeline(scaler, estimator)
    found = pipeline.fit(X, y, sample_weight=weight)
    with config_context(enable_metadata_routing=False):
        scaled = StandardScaler().fit_transform(X)
        expected = clone(ESTIMATORS[name]).fit(scaled, y, sample_weight=weight)
    np.testing.assert_array_equal(found.predict(X), expected.predict(scaled))
    score = found.score(X, y, sample_weight=weight)
    assert score == pytest.approx(expected.score(scaled, y, sample_weight=weight))
    step = pipeline.steps[-1][0]
    grid = {f"{step}__{'C' if name == 'ordinal' else 'lr'}": [0.01, 0.02]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y, sample_weight=weight)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    result = cross_validate(pipeline, X, y, cv=2, params={"sample_weight": weight})
    assert np.isfinite(result["test_score"]).all()


@pytest.mark.usefixtures("routing")
def test_weights_that_nobody_asked_for(weighted):
    X, y, weight = weighted
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    with pytest.raises(UnsetMetadataPassedError, match=r"OrdinalClassifier\.fit"):
        make_pipeline(scaler, OrdinalClassifier()).fit(X, y, sample_weight=weight)
    refused = OrdinalClassifier().set_fit_request(sample_weight=False)
    with pytest.raises(TypeError, match="sample_weight"):
        make_pipeline(scaler, refused).fit(X, y, sample_weight=weight)
    OrdinalClassifier().fit(X, y, sample_weight=weight)  # a direct call needs no request
    with pytest.raises(UnsetMetadataPassedError, match=r"StandardScaler\.fit"):
        inner = make_pipeline(StandardScaler(), LogisticRegression())
        OrdinalClassifier(inner).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("name", ["sample_weight", "w"])
@pytest.mark.usefixtures("routing")
def test_the_request_of_the_estimator_counts(weighted, name):
    X, y, weight = weighted
    request = True if name == "sample_weight" else name
    inner = LogisticRegression().set_fit_request(sample_weight=request)
    found = make_pipeline(OrdinalClassifier(inner)).fit(X, y, **{name: weight})
    with config_context(enable_metadata_routing=False):
        expected = OrdinalClassifier(LogisticRegression()).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X))
