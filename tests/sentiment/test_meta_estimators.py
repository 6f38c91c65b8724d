"""Networks inside searches, pipelines, ensembles and callbacks."""

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.pipeline import FeatureUnion, Pipeline
from skorch.callbacks import EpochScoring

from sklearn_speechsent import (
    SlidingCMN,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
)
from sklearn_speechsent.metrics import get_scorer


@pytest.mark.parametrize(
    "scoring", ["neg_mean_absolute_error", get_scorer("concordance_correlation")]
)
@pytest.mark.parametrize("caching", [False, True])
def test_scoring_callbacks_of_skorch(net, data, scoring, caching):
    X, y = data
    callback = EpochScoring(scoring, name="score", lower_is_better=False, use_caching=caching)
    net.set_params(callbacks=[("score", callback)])
    net.fit(X, y, X_val=X[6:], y_val=y[6:])
    score = scoring if callable(scoring) else get_scorer(scoring)
    assert net.history[-1]["score"] == pytest.approx(score(net, X[6:], y[6:]), abs=1e-6)


def test_set_output_of_a_pipeline_leaves_frames_alone(net, data):
    pipeline = Pipeline([("cmn", SlidingCMN()), ("net", net)]).set_output(transform="pandas")
    assert isinstance(pipeline[:-1].fit_transform(data[0]), UtteranceFrames)
    assert pipeline.fit(*data).predict(data[0]).shape == (12,)


def test_a_device_shared_by_workers_is_a_warning(net, monkeypatch):
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())
    net.set_params(device="cuda")
    with pytest.warns(UserWarning, match="share one device"):
        net._check_device_sharing()


def test_meta_estimators_that_take_frames(data, net_params):
    X, y = data
    net = SpeechSentimentRegressor(**net_params)
    y = y.astype(float)
    for meta in (
        VotingRegressor([("a", net), ("b", net)]),
        StackingRegressor([("a", net)], cv=2),
        TransformedTargetRegressor(net, func=np.arctanh, inverse_func=np.tanh, check_inverse=False),
    ):
        target = y / 2 if isinstance(meta, TransformedTargetRegressor) else y
        assert meta.fit(X, target).predict(X).shape == (12,)


def test_meta_estimators_that_refuse_frames(data, net_params):
    X, y = data
    with pytest.raises((TypeError, ValueError)):
        BaggingRegressor(SpeechSentimentRegressor(**net_params), 2).fit(X, y)
    with pytest.raises((TypeError, ValueError)):
        FeatureUnion([("cmn", SlidingCMN())]).fit_transform(X)


def test_scorers_with_a_fixed_scale(data, net_params):
    """The net was fitted without level 1, and the fold to score has level -1 only."""
    X, _ = data
    levels = [-1, 0, 1]
    net = SpeechSentimentClassifier(**net_params, levels=levels)
    with pytest.warns(UserWarning, match="level 1;"):
        net.fit(X[:10], np.repeat([-1, 0], 5))
    proba = net.predict_proba(X[:5])
    assert proba.shape == (5, 3)
    above = 1 - np.cumsum(proba, axis=1)[:, :2]  # all of it is error
    score = get_scorer("neg_ranked_probability_error", levels=levels)(net, X[:5], np.full(5, -1))
    assert score == pytest.approx(-(above**2).sum(axis=1).mean(), abs=1e-6)
